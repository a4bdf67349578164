"""Reports of results: tables, generated sentences, plots and a self-contained HTML page."""
