"""The engine: searches that breed, train and record losses."""
