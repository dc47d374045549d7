// Speaking to Python: errors from longshort's tree, arrays in and out.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

namespace longshort {

namespace nb = nanobind;

// Raise longshort.errors.<name>(message).
[[noreturn]] inline void raise_error(const char* name, const std::string& message) {
    PyErr_SetString(nb::module_::import_("longshort.errors").attr(name).ptr(), message.c_str());
    throw nb::python_error();
}

inline void require(bool holds, const std::string& message) {
    if (!holds) raise_error("InputError", message);
}

// A number as people write it.
inline std::string show(double x) {
    char text[32];
    std::snprintf(text, sizeof text, "%.6g", x);
    return text;
}

inline std::string show_shape(const std::vector<std::size_t>& shape) {
    std::string text = "(";
    for (std::size_t extent : shape) text += std::to_string(extent) + ", ";
    if (shape.size() > 1) text.resize(text.size() - 2);
    if (shape.size() == 1) text.resize(text.size() - 1);
    return text + ")";
}

template <class X>
nb::object to_numpy(const X* values, const std::vector<std::size_t>& shape) {
    std::size_t size = 1;
    for (std::size_t extent : shape) size *= extent;
    auto copy = std::make_unique<X[]>(size);
    std::copy_n(values, size, copy.get());
    nb::capsule owner(copy.get(), [](void* p) noexcept { delete[] static_cast<X*>(p); });
    return nb::cast(nb::ndarray<nb::numpy, X>(copy.release(), shape.size(), shape.data(), owner));
}

// Any array-like as a C-contiguous numpy array of X; `what` names it in the error.
template <class X>
nb::ndarray<const X, nb::c_contig, nb::device::cpu> to_array(nb::handle value, const std::string& what) {
    const char* dtype = std::is_same_v<X, float> ? "float32" : std::is_same_v<X, double> ? "float64" : "int64";
    nb::object array;
    try {
        array = nb::module_::import_("numpy").attr("ascontiguousarray")(value, dtype);
    } catch (nb::python_error& error) {
        const std::string reason = nb::str(error.value()).c_str();
        raise_error("InputError", what + " must be an array of numbers: " + reason + ".");
    }
    return nb::cast<nb::ndarray<const X, nb::c_contig, nb::device::cpu>>(array);
}

// An object's memory as numbers, where it offers C-ordered memory of that type; no number is copied.
class View {
public:
    explicit View(nb::handle object, bool writeable = false) {
        const int flags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (writeable ? PyBUF_WRITABLE : 0);
        held_ = PyObject_CheckBuffer(object.ptr()) && PyObject_GetBuffer(object.ptr(), &buffer_, flags) == 0;
        if (!held_) PyErr_Clear();
    }
    ~View() {
        if (held_) PyBuffer_Release(&buffer_);
    }
    View(const View&) = delete;
    View& operator=(const View&) = delete;

    bool holds(const char* format) const { return held_ && std::strcmp(buffer_.format, format) == 0; }
    bool holds_bytes() const { return held_ && buffer_.itemsize == 1; }
    std::size_t size() const { return static_cast<std::size_t>(buffer_.len / buffer_.itemsize); }
    int ndim() const { return buffer_.ndim; }
    std::size_t shape(int axis) const { return static_cast<std::size_t>(buffer_.shape[axis]); }
    template <class X>
    X* as() const {
        return static_cast<X*>(buffer_.buf);
    }

private:
    Py_buffer buffer_;
    bool held_ = false;
};

template <class Array>
std::vector<std::size_t> shape_of(const Array& array) {
    std::vector<std::size_t> shape(array.ndim());
    for (std::size_t i = 0; i < shape.size(); ++i) shape[i] = array.shape(i);
    return shape;
}

template <class X>
void require_finite(const X* values, std::size_t n, const std::string& what) {
    for (std::size_t i = 0; i < n; ++i)
        if (!std::isfinite(values[i]))
            raise_error("InputError", what + " must be finite, but element " + std::to_string(i) + " was " +
                                          show(static_cast<double>(values[i])) + ".");
}

}  // namespace longshort
