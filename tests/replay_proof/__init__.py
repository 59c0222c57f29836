"""A long replay, killed and resumed, held against scikit-learn."""
