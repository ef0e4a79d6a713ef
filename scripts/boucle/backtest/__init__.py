"""The backtest: a labelled file in time order, replayed batch by batch, judges the loop beside its rivals."""
