"""The search space: parameters, their values and numerics, conditions and requirements."""
