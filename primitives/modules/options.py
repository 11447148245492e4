"""Names of the options of loss modules, beside hyper-parameters."""

#: Options of every module, and of modules over embeddings alone.
OPTIONS = frozenset({"reduction", "ignore_index", "label_smoothing", "scale", "prior", "weight"})
EMBEDDING_OPTIONS = frozenset({"class_weights", "sub_centers", "fine_tune_from", "generator"})

#: All of them: names that no hyper-parameter has.
MODULE_OPTIONS = OPTIONS | EMBEDDING_OPTIONS
