"""Speed of the project's own work beside its peers' and beside the machine's limit, in one run."""
