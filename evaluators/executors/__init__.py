"""The executors: where work is evaluated, in this process or on a Ray cluster."""
