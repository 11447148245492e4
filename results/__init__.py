"""What is kept: evaluations, the store, the leaderboard, statistics, exported losses."""
