"""Systems of models: stages and their artifacts, updates of a model, verdicts, the case study and its report."""
