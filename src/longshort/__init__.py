"""Long Short-Term Memory forecasting for going long and short."""
