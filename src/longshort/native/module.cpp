// The Python module: each part of the core binds itself.
#include <nanobind/nanobind.h>

namespace nb = nanobind;

void bind_features(nb::module_& m);  // features.cpp
void bind_holdings(nb::module_& m);  // holdings.cpp
void bind_lstm(nb::module_& m);      // lstm.cpp
void bind_ticker(nb::module_& m);    // ticker.cpp

NB_MODULE(LONGSHORT_CORE, m) {
    // Programs kept in module-level caches live until the interpreter ends; that is no leak worth a message to users.
    nb::set_leak_warnings(false);
    m.attr("isa") = LONGSHORT_ISA;
    bind_features(m);
    bind_holdings(m);
    bind_ticker(m);
    bind_lstm(m);
}
