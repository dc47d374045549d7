// Feature programs: one interpreter runs them over history and per tick.
#include <nanobind/nanobind.h>

namespace nb = nanobind;

void bind_features(nb::module_&) {}
