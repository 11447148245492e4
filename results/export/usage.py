"""How a loss over embeddings is used: it replaces the last layer of a network, unlike a loss over logits."""

#: What is special about such a loss, after "it".
OWNS_LAST_LAYER = "owns the weights of the last layer, which the network must not have"

#: Lines of Python that use an exported one.
EMBEDDING_USE = (
    "loss = Loss(num_classes, embedding_size)  # give its parameters to the optimiser as well",
    "value = loss(embeddings, target)  # the network ends with its embeddings: it has no last layer",
    "prediction = loss.get_logits(embeddings).argmax(1)",
)
