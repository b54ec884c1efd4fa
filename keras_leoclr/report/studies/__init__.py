"""The results of studies (`leoclr ablate`) as tables and pictures."""

from keras_leoclr import lazy

_PLACES = {
    **dict.fromkeys(
        ("CHANGED", "COLLECTED", "MEASURES", "RANDOM", "Spread", "Study", "mean_curves", "read", "spread"),
        "measured",
    ),
    **dict.fromkeys(("markdown", "percent", "points", "text"), "tables"),
    **dict.fromkeys(("Agreed", "Foretold", "agreement_text", "foretold_text", "losses_foretell"), "foretold"),
    **dict.fromkeys(("curves", "picture"), "pictures"),
    **dict.fromkeys(("Lead", "by_cell", "leads", "leads_picture", "table_of_leads"), "lead"),
}
__all__ = sorted(_PLACES)
__getattr__, __dir__ = lazy.attach(__name__, _PLACES)
