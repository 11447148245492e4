"""Ranking of losses: the order and the rows of a leaderboard."""
