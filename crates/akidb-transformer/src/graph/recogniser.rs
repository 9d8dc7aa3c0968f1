//! What all layers of a model have in common, as it is met.

use super::normal::{Heads, Mask, RotaryTables};
use super::walk::{Walk, need_input, unknown};
use akidb_onnx::model::{OnnxModel, node_name};
use akidb_onnx::proto::NodeProto;
use akidb_onnx::{Error, shorten};

pub(super) struct Recogniser<'m> {
    pub(super) walk: Walk<'m>,
    pub(super) rms_norm_eps: Option<f32>,
    /// The first node seen that rotates.
    pub(super) rotary: Option<(&'m NodeProto, RotaryTables<'m>)>,
    /// Those of the first attention seen.
    pub(super) heads: Option<Heads>,
    /// Of the first attention seen.
    pub(super) mask: Option<Mask<'m>>,
}

impl<'m> Recogniser<'m> {
    pub(super) fn new(model: &'m OnnxModel) -> Self {
        Self {
            walk: Walk::new(model),
            rms_norm_eps: None,
            rotary: None,
            heads: None,
            mask: None,
        }
    }

    /// All layers must have the same heads.
    pub(super) fn same_heads(&mut self, node: &'m NodeProto, heads: Heads) -> Result<(), Error> {
        let first = *self.heads.get_or_insert(heads);
        if heads == first {
            Ok(())
        } else {
            Err(unknown(node, format!("{heads:?}, elsewhere {first:?}")))
        }
    }

    /// All layers must have the same mask. True when it was looked at already.
    pub(super) fn same_mask(&mut self, node: &'m NodeProto, mask: Mask<'m>) -> Result<bool, Error> {
        match self.mask {
            Some(first) if first == mask => Ok(true),
            Some(_) => Err(unknown(node, "another mask than elsewhere")),
            None => {
                self.mask = Some(mask);
                Ok(false)
            }
        }
    }

    /// All norms must have the same epsilon.
    pub(super) fn epsilon(&mut self, node: &NodeProto, epsilon: f32) -> Result<(), Error> {
        let name = shorten(node_name(node));
        if !(epsilon > 0.0 && epsilon < 1.0) {
            return Err(Error::graph(format!("node {name:?}: epsilon is {epsilon}")));
        }
        let first = *self.rms_norm_eps.get_or_insert(epsilon);
        if epsilon == first {
            Ok(())
        } else {
            let why = format!("epsilon is {epsilon}, elsewhere {first}");
            Err(unknown(node, why))
        }
    }

    /// All layers must use the same tables, of cosines and of sines, which are looked at in the
    /// end.
    pub(super) fn use_rotary_tables(
        &mut self,
        node: &'m NodeProto,
        tables: RotaryTables<'m>,
    ) -> Result<(), Error> {
        let (_, first) = *self.rotary.get_or_insert((node, tables));
        for ((table, index), (first, first_index)) in tables.into_iter().zip(first) {
            if need_input(table, index)? != need_input(first, first_index)? {
                return Err(unknown(node, "other tables than elsewhere"));
            }
        }
        Ok(())
    }
}
