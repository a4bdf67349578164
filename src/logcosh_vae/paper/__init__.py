"""The paper's tables as declared experiments, with the numbers it reports."""
