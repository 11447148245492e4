"""Results of a run: its stored evaluations, its leaderboard, statistics of losses, exports and reports."""
