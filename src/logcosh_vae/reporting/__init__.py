"""From results to tables, sentences, plots and a self-contained HTML page."""
