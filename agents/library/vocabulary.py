"""The words that say what a question asks for, as stems."""

from __future__ import annotations

from enum import StrEnum


class Aggregate(StrEnum):
    """How many values become one; the value is how an answer calls it."""

    SUM = "total"
    MEAN = "average"
    MEDIAN = "median"
    LOWEST = "lowest"
    HIGHEST = "highest"
    DEVIATION = "standard deviation of"
    VARIANCE = "variance of"
    DISTINCT = "number of different"


AGGREGATES = {
    "total": Aggregate.SUM,
    "sum": Aggregate.SUM,
    "altogether": Aggregate.SUM,
    "combined": Aggregate.SUM,
    "average": Aggregate.MEAN,
    "mean": Aggregate.MEAN,
    "avg": Aggregate.MEAN,
    "typical": Aggregate.MEAN,
    "median": Aggregate.MEDIAN,
    "std": Aggregate.DEVIATION,
    "stdev": Aggregate.DEVIATION,
    "deviation": Aggregate.DEVIATION,
    "variance": Aggregate.VARIANCE,
    "distinct": Aggregate.DISTINCT,
    "unique": Aggregate.DISTINCT,
    "different": Aggregate.DISTINCT,
    "minimum": Aggregate.LOWEST,
    "min": Aggregate.LOWEST,
    "maximum": Aggregate.HIGHEST,
    "max": Aggregate.HIGHEST,
}
HIGH = frozenset(
    "highest most max maximum largest biggest greatest top best peak longest heaviest tallest oldest "
    "fastest richest latest newest recent hottest warmest strongest".split()
)
LOW = frozenset(
    "lowest least min minimum smallest fewest bottom worst shortest lightest youngest slowest poorest "
    "cheapest earliest coldest weakest rarest".split()
)
MANY = frozenset(("many", "number", "count"))
MISSING = frozenset("missing empty blank null nan lack lacking incomplete".split())
COMMON = frozenset("common commonest frequent frequently often popular mode prevalent rare rarest".split())
SHARE = frozenset("percent percentage share proportion fraction".split())
TREND = frozenset(
    "trend evolve evolution growth grow grown development develop developed change changed increase "
    "increased decrease decreased rise risen fall decline declined timeline".split()
)
CORRELATION = frozenset(
    "correlation correlate correlated relationship relation related relate association associated depend".split()
)
OVERVIEW = frozenset(
    "describe summarise summarize summary overview analyse analyze analysis insight explore report "
    "finding profile statistic statistics interesting".split()
)
BEYOND = frozenset("why predict forecast prediction cause because recommend should".split())
GROUPERS = frozenset("by per each every across".split())
ASKING = frozenset("which what whose who".split())
BUCKETS = {
    "day": "1d",
    "daily": "1d",
    "week": "1w",
    "weekly": "1w",
    "month": "1mo",
    "monthly": "1mo",
    "quarter": "1q",
    "quarterly": "1q",
    "year": "1y",
    "yearly": "1y",
    "annual": "1y",
    "annually": "1y",
}
NUMBER_WORDS = {word: count for count, word in enumerate("one two three four five six seven eight nine ten".split(), 1)}
ORDINALS = {
    word: rank
    for rank, pair in enumerate(("2nd second", "3rd third", "4th fourth", "5th fifth", "6th sixth", "7th seventh"), 2)
    for word in pair.split()
}
# Which columns a word may stand for when none has its name; the first that exists counts.
MEANS = {
    "sale": ("sale", "revenue", "turnover", "unit", "quantity", "qty", "amount"),
    "revenue": ("revenue", "turnover", "amount", "income"),
    "turnover": ("turnover", "revenue", "amount"),
    "earn": ("salary", "income", "earn", "wage", "revenue", "pay", "profit"),
    "pay": ("salary", "pay", "wage", "payment", "income", "compensation"),
    "salary": ("salary", "pay", "wage", "income", "compensation"),
    "spend": ("spend", "spending", "expense", "cost", "amount"),
    "purchase": ("purchase", "quantity", "qty", "amount"),
    "price": ("price", "cost", "fare"),
    "cost": ("cost", "price", "fare"),
    "expensive": ("price", "cost", "fare", "amount"),
    "cheapest": ("price", "cost", "fare", "amount"),
    "cheaper": ("price", "cost", "fare", "amount"),
    "quantity": ("quantity", "qty", "unit", "amount"),
    "unit": ("unit", "quantity", "qty"),
    "oldest": ("age",),
    "youngest": ("age",),
    "older": ("age",),
    "younger": ("age",),
    "old": ("age",),
    "tallest": ("height", "size"),
    "taller": ("height", "size"),
    "longest": ("length", "duration", "distance", "time"),
    "longer": ("length", "duration", "distance", "time"),
    "shortest": ("height", "length", "duration", "distance", "time"),
    "shorter": ("height", "length", "duration", "distance", "time"),
    "heaviest": ("weight", "mass"),
    "heavier": ("weight", "mass"),
    "lightest": ("weight", "mass"),
    "lighter": ("weight", "mass"),
    "fastest": ("speed", "velocity"),
    "slowest": ("speed", "velocity"),
    "hottest": ("temperature", "temp"),
    "warmest": ("temperature", "temp"),
    "coldest": ("temperature", "temp"),
    "richest": ("wealth", "income", "salary"),
    "poorest": ("wealth", "income", "salary"),
    "profitable": ("profit", "margin"),
}
PERSONS = ("name", "employee", "person", "customer", "client", "user", "salesperson", "seller", "rep",
           "student", "player", "member", "author", "manager", "agent", "driver", "patient")  # fmt: skip
# Quantities whose sum means something; of a price or an age a question means single values or the mean.
ADDITIVE = frozenset(
    "sale revenue turnover amount quantity qty unit profit total count order visit visitor download "
    "click view spend expense cost hour minute point goal win loss volume purchase "
    "donation death case vote passenger budget payment impression conversion attendance income "
    "employee student customer".split()
)
ROWS_CALLED = frozenset(
    "order product item transaction worker staff house company store shop game film movie book car".split()
)
ROW_NOUNS = frozenset("row record entry line item observation case".split())
STOP = frozenset(
    "may work works working located based range recently currently a an the of in on for to is are "
    "was were be been being do doe did done has have had having i me my we our us you your it its "
    "this that these those there their them they he she his her please tell show give find calculate "
    "compute list want know need can could would will with from at and or as when where how much than "
    "then so if table data dataset csv file tsv json row record entry line column field value here "
    "hello hi hey thank thanks following below attached question answer all any get got let make made "
    "s t not no except excluding exclude other only just also too about into out up between over "
    "under above below more less fewer greater higher lower larger smaller bigger fewest than overall "
    "whole entire during since before after until through vs versus compare compared comparison same "
    "which what whose who whom name named first last time across come came go most least look like "
    "see mean tell still very really quickly quick dear sir per each every number many total sum "
    "equal within among ones one = == != > < >= <= ≥ ≤ ≠ # % group grouped broken down split rank "
    "ranked sort sorted order ordered ascending descending high low big large small live lived "
    "exactly rather using use used paste pasted exist exists some result correspond corresponding "
    "respectively does don didn isn aren wasn weren has hasn haven exceed exceeding least".split()
)
VOCABULARY = frozenset(
    (
        *AGGREGATES, *HIGH, *LOW, *MANY, *MISSING, *COMMON, *SHARE, *TREND, *CORRELATION, *OVERVIEW, *BEYOND,
        *GROUPERS,
        *ASKING, *BUCKETS, *NUMBER_WORDS, *ORDINALS, *ROW_NOUNS,
    )
)  # fmt: skip
