"""Turn judged responses into training data by the rules of the recipe.

``rules`` decides which SFT row and pair each prompt can give; ``selection`` decides which of them are used, by the
seeded draws of ``split``. Both are pure functions on tables of keys. ``keys`` reads these tables; ``rows`` reads the
texts of the chosen responses and writes the rows.
"""
