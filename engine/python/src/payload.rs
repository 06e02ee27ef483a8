//! Payloads that a program gives: bytes as they are, text as UTF-8, and `dict` and `list` as JSON.

use bytes::Bytes;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyList, PyString};

/// The payload's bytes.
///
/// # Errors
/// A type that is none of these; text that is not Unicode; a value that JSON cannot express.
pub(crate) fn bytes_of(data: &Bound<'_, PyAny>) -> PyResult<Bytes> {
    if let Ok(text) = data.cast::<PyString>() {
        return Ok(Bytes::copy_from_slice(text.to_str()?.as_bytes()));
    }
    if let Ok(bytes) = data.cast::<PyBytes>() {
        return Ok(Bytes::copy_from_slice(bytes.as_bytes()));
    }
    if data.is_instance_of::<PyDict>() || data.is_instance_of::<PyList>() {
        return Ok(Bytes::from(json_of(data)?));
    }
    match PyBuffer::<u8>::get(data) {
        Ok(buffer) => Ok(Bytes::from(buffer.to_vec(data.py())?)),
        Err(_) => Err(PyTypeError::new_err(format!(
            "a payload is bytes, str, dict or list, not {}; convert it",
            data.get_type().name()?
        ))),
    }
}

/// A value as compact JSON.
///
/// # Errors
/// As `json.dumps`; a number that JSON has not.
pub(crate) fn json_of(value: &Bound<'_, PyAny>) -> PyResult<String> {
    static ENCODE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = value.py();
    let encode = ENCODE.get_or_try_init(py, || {
        let options = PyDict::new(py);
        options.set_item("ensure_ascii", false)?;
        options.set_item("allow_nan", false)?;
        options.set_item("separators", (",", ":"))?;
        let encoder = py.import("json")?.getattr("JSONEncoder")?.call((), Some(&options))?;
        Ok::<_, PyErr>(encoder.getattr("encode")?.unbind())
    })?;
    encode.bind(py).call1((value,))?.extract()
}
