"""Train one network under one loss, and the parts that every kind of training shares."""
