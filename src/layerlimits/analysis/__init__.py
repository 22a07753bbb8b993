"""Analysis of responses: repetition, syntax, outcomes of programs, arithmetic, differences between texts."""
