// Stacked LSTM: training, prediction, ticks.
#include <nanobind/nanobind.h>

namespace nb = nanobind;

void bind_lstm(nb::module_&) {}
