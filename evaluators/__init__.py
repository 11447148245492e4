"""Score a loss: screen it, train small networks with it on tasks, and hand such work to executors."""
