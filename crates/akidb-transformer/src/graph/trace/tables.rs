//! Rows of tables: of words, positions and segments, looked up or taken in order.

use std::rc::Rc;

use akidb_onnx::Error;
use akidb_onnx::model::is_op;
use akidb_onnx::proto::NodeProto;
use akidb_onnx::tensor::Tensor;

use super::array::{Array, Kind, len_of};
use super::expr::{Expr, Value};
use super::known;
use super::tracer::Tracer;
use crate::graph::walk::{MICROSOFT, input, int_attribute, unknown};
use crate::weights::EmbeddingTable;

/// A constant with a row for each index.
enum Table {
    Values(EmbeddingTable),
    /// Not yet scaled.
    Codes(Tensor),
}

impl<'m> Tracer<'m> {
    /// Rows of a table of weights.
    pub(super) fn rows(
        &mut self,
        node: &'m NodeProto,
        inputs: &[Option<Value>],
    ) -> Result<Option<Value>, Error> {
        if is_op(node, MICROSOFT, "GatherBlockQuantized") {
            let index = match inputs.get(1) {
                Some(Some(index)) => self.known(index)?,
                _ => None,
            };
            let Some(index) = index else {
                return Ok(None);
            };
            let table = Table::Values(self.recogniser.table_of_blocks(node)?);
            return self.rows_of(node, table, &index).map(Some);
        }
        let is_lookup =
            is_op(node, "", "Gather") && inputs.len() == 2 && int_attribute(node, "axis", 0) == 0;
        // Few rows are read as they are, as positions may be.
        let is_large = |value: &Value| self.known(value).is_ok_and(|known| known.is_none());
        let is_slice = is_op(node, "", "Slice")
            && matches!(&inputs.first(), Some(Some(table)) if is_large(table));
        if !is_lookup && !is_slice {
            return Ok(None);
        }
        let Some(table) = self.table(node, inputs)? else {
            return Ok(None);
        };
        let index = if is_lookup {
            match &inputs[1] {
                Some(index) => self.known(index)?,
                None => None,
            }
        } else {
            self.sliced_rows(node, inputs, &table)?
        };
        match index {
            Some(index) => self.rows_of(node, table, &index).map(Some),
            None => Ok(None),
        }
    }

    /// The table that is a node's first input.
    fn table(&self, node: &'m NodeProto, inputs: &[Option<Value>]) -> Result<Option<Table>, Error> {
        match inputs.first() {
            Some(Some(Value::Constant(table))) if table.dims().len() == 2 => {
                if table.dtype().is_float() {
                    return EmbeddingTable::new(table.clone()).map(|t| Some(Table::Values(t)));
                }
                let is_codes = table.dtype().size() == 1;
                Ok(is_codes.then(|| Table::Codes(table.clone())))
            }
            Some(Some(Value::Opaque)) => {
                let Some(name) = input(node, 0) else {
                    return Ok(None);
                };
                let Some((codes, scales)) = self.recogniser.scaled_codes(name)? else {
                    return Ok(None);
                };
                EmbeddingTable::quantized_by_row(codes, &scales).map(|t| Some(Table::Values(t)))
            }
            _ => Ok(None),
        }
    }

    /// The rows that a `Slice` takes, all columns of each.
    fn sliced_rows(
        &self,
        node: &NodeProto,
        inputs: &[Option<Value>],
        table: &Table,
    ) -> Result<Option<Rc<Array>>, Error> {
        let dims = match table {
            Table::Values(table) => table.tensor().dims(),
            Table::Codes(codes) => codes.dims(),
        };
        let known = inputs.iter().enumerate().map(|(i, value)| match value {
            Some(value) if i > 0 => self.known(value),
            _ => Ok(None),
        });
        let known = known.collect::<Result<Vec<_>, Error>>()?;
        let rows = known::slices(node, &known, dims).and_then(|parts| match &parts[..] {
            [part] if part.axis == 0 && part.step == 1 => {
                let rows = (part.start..part.start + part.count).map(|row| row as i64);
                Some(Rc::new(Array::ints(rows)))
            }
            _ => None,
        });
        Ok(rows)
    }

    /// The rows of `table` at `index`.
    pub(super) fn table_rows(
        &mut self,
        node: &NodeProto,
        table: Tensor,
        index: &Rc<Array>,
    ) -> Result<Value, Error> {
        let table = match table.dtype().is_float() {
            true => Table::Values(EmbeddingTable::new(table)?),
            false => Table::Codes(table),
        };
        self.rows_of(node, table, index)
    }

    fn rows_of(
        &mut self,
        node: &NodeProto,
        table: Table,
        index: &Rc<Array>,
    ) -> Result<Value, Error> {
        let tensor = match &table {
            Table::Values(table) => table.tensor(),
            Table::Codes(codes) => codes,
        };
        let [rows, width] = *tensor.dims() else {
            return Err(unknown(node, "its table has not two axes"));
        };
        let fits = |i: &f64| *i >= 0.0 && (*i as usize) < rows;
        if index.kind == Kind::Float || !index.data.iter().all(fits) {
            return Err(unknown(node, format!("its table has only {rows} rows")));
        }
        if len_of(&index.dims).is_none() {
            return Err(unknown(node, "too many rows"));
        }
        let dims: Vec<usize> = index.dims.iter().copied().chain([width]).collect();
        let index = Rc::clone(index);
        let expr = match table {
            Table::Values(table) => Expr::Rows { table, index },
            Table::Codes(codes) => Expr::Codes { codes, index },
        };
        Ok(self.put(expr, dims))
    }
}
