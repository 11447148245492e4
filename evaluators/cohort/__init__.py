"""Train many candidates at once: one batched program for the networks, losses and optimisers of a cohort."""
