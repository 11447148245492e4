"""Names of the options of loss modules, beside hyper-parameters."""

#: Options of every module.
OPTIONS = frozenset({"reduction", "ignore_index", "label_smoothing", "scale", "prior"})

#: Options of modules over logits alone, and of modules over embeddings alone.
LOGIT_OPTIONS = frozenset({"weight"})
EMBEDDING_OPTIONS = frozenset({"class_weights", "sub_centers", "fine_tune_from", "generator"})

#: All of them: names that no hyper-parameter has.
MODULE_OPTIONS = OPTIONS | LOGIT_OPTIONS | EMBEDDING_OPTIONS
