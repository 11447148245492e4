"""What a loss is worth: screening, tasks, proxy trainings, and the executors that hand them out."""
