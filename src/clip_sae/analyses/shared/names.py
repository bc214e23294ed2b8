"""Names that several questions share, in tables and in choices. No torch: plans read them."""

CONDITIONS = ("strict", "relaxed")  # of a suppression set's choice, in the order of its two tables
NEURONS = "neurons"  # the label of residual coordinates: the control that needs no SAE
NO_WORD = -1  # the written word's class index, where there is no word or no such class
