//! What the graph wants to be given.

use akidb_backend::{BackendError, BackendErrorKind};
use akidb_onnx::model::OnnxModel;
use akidb_onnx::proto::tensor_proto::DataType;
use akidb_onnx::proto::{TypeProto, ValueInfoProto, type_proto};

use crate::declared::{fixed, shape, tensor_type};
use crate::layout::TextLayout;
use crate::past;

/// What an input means, by its name in Hugging Face's exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Token ids, `[texts, tokens]` or, end to end, `[tokens]`.
    InputIds,
    /// 1 for a text's token; for padding what [`Padding`] says. `[texts, tokens]`.
    AttentionMask,
    /// 0, 1, 2, … `[texts, tokens]`.
    PositionIds,
    /// All 0: one segment. `[texts, tokens]`.
    TokenTypeIds,
    /// Where each text begins among ids that lie end to end: `[texts]`.
    Offsets,
    /// Number of the adaptation to run: one for all texts, or one a text.
    Task {
        /// Number of dimensions: none, or one.
        rank: usize,
        /// The size of that, where it is fixed.
        size: Option<usize>,
    },
    /// A decoder's cache, empty: `[texts, heads, 0, head_dim]`.
    PastKeyValues {
        /// Number of key/value heads.
        heads: usize,
        /// Width of one.
        head_dim: usize,
    },
}

/// Type of an input's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElementType {
    /// 32-bit integers.
    I32,
    /// 64-bit integers.
    I64,
    /// Single precision.
    F32,
    /// Half precision.
    F16,
    /// True and false.
    Bool,
}

/// One input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Its name in the graph.
    pub name: String,
    /// What it means.
    pub role: Role,
    /// What it is made of.
    pub element: ElementType,
}

/// What fills up the shorter texts of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Padding {
    /// Token id.
    pub id: u32,
    /// Value in `attention_mask`: 0, or 1 for causal graphs, in which no token looks to its right.
    pub mask: u32,
}

/// What a graph is given in one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Texts<'a> {
    /// Ids of the texts, none of them empty.
    pub ids: &'a [&'a [u32]],
    /// Where the second segment of each begins: its length where it has none.
    pub second_segments: &'a [usize],
    /// What fills up the shorter ones.
    pub padding: Padding,
    /// The number of the adaptation that they are for, where the graph has several.
    pub task: u32,
}

impl Texts<'_> {
    /// Length of the longest.
    pub fn longest(&self) -> usize {
        self.ids.iter().map(|ids| ids.len()).max().unwrap_or(0)
    }
}

/// The inputs of a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inputs {
    /// Those whose meaning is known, `input_ids` among them.
    pub known: Vec<Input>,
    /// Those whose meaning is not, as `"name": type`.
    pub unknown: Vec<String>,
    /// How texts lie in them.
    pub layout: TextLayout,
}

impl Inputs {
    /// Reads the inputs' names, types and shapes off `onnx`; `head_dim` is the width of a key/value
    /// head, for graphs that don't tell it.
    ///
    /// # Errors
    /// When the graph takes no `input_ids`.
    pub fn of(onnx: &OnnxModel, head_dim: Option<usize>) -> Result<Self, BackendError> {
        let layout = layout(onnx);
        let mut inputs = Self {
            known: Vec::new(),
            unknown: Vec::new(),
            layout,
        };
        for input in onnx.inputs() {
            match meaning(onnx, input, layout, head_dim) {
                Some((role, element)) => inputs.known.push(Input {
                    name: input.name().to_owned(),
                    role,
                    element,
                }),
                None => {
                    let described = format!("{:?}: {}", input.name(), type_name(&input.r#type));
                    inputs.unknown.push(described);
                }
            }
        }
        if inputs.known.iter().any(|i| i.role == Role::InputIds) {
            return Ok(inputs);
        }
        Err(BackendError::new(
            BackendErrorKind::UnsupportedModel,
            format!(
                "the graph takes no integer `input_ids` of rank 2 (or of rank 1, with `offsets`); its \
                 inputs are {}",
                inputs.unknown.join(", ")
            ),
        ))
    }

    /// Whether the graph wants the number of an adaptation.
    pub fn takes_task(&self) -> bool {
        let mut known = self.known.iter();
        known.any(|input| matches!(input.role, Role::Task { .. }))
    }
}

impl Input {
    /// The input's shape for `texts` texts, the longest of `longest` tokens, `total` in all.
    pub fn shape(
        &self,
        layout: TextLayout,
        texts: usize,
        longest: usize,
        total: usize,
    ) -> Vec<usize> {
        let (rows, length) = layout.grid(texts, longest);
        match (self.role, layout) {
            (Role::PastKeyValues { heads, head_dim }, _) => vec![rows, heads, 0, head_dim],
            (Role::Task { rank: 0, .. }, _) => vec![],
            (Role::Task { size, .. }, _) => vec![size.unwrap_or(rows)],
            (Role::Offsets, _) => vec![texts],
            (_, TextLayout::EndToEnd) => vec![total],
            (_, TextLayout::Rows { .. }) => vec![rows, length],
        }
    }

    /// The input's shape and values for a run, row-major; none for an empty cache.
    ///
    /// # Errors
    /// When there are more or longer texts than the graph takes.
    pub fn tensor<T>(
        &self,
        layout: TextLayout,
        texts: &Texts<'_>,
        convert: impl Fn(u32) -> T,
    ) -> Result<(Vec<usize>, Vec<T>), BackendError> {
        let total = texts.ids.iter().map(|ids| ids.len()).sum();
        let longest = texts.longest();
        let most_tokens = layout.most_tokens().unwrap_or(longest);
        if texts.ids.len() > layout.most_texts() || longest > most_tokens {
            return Err(BackendError::new(
                BackendErrorKind::InvalidInput,
                format!(
                    "{} texts of up to {longest} tokens: the graph takes {} of {most_tokens}",
                    texts.ids.len(),
                    layout.most_texts()
                ),
            ));
        }
        let shape = self.shape(layout, texts.ids.len(), longest, total);
        let mut values = Vec::new();
        match (self.role, layout) {
            (Role::PastKeyValues { .. }, _) => {}
            (Role::Task { .. }, _) => {
                let size = shape.iter().product();
                values.extend((0..size).map(|_| convert(texts.task)));
            }
            (Role::Offsets, _) => {
                let mut offset = 0;
                for ids in texts.ids {
                    // Lengths are bounded far below 2³².
                    values.push(convert(offset as u32));
                    offset += ids.len();
                }
            }
            (role, TextLayout::EndToEnd) => {
                let of_text = |ids: &&[u32]| {
                    let tokens = 0..ids.len();
                    // A bag of tokens has no segments.
                    let values = tokens.map(|i| role.value(ids, ids.len(), i, texts.padding));
                    values.collect::<Vec<u32>>()
                };
                let all = texts.ids.iter().flat_map(of_text);
                values.extend(all.map(convert));
            }
            (role, TextLayout::Rows { .. }) => {
                let (rows, length) = layout.grid(texts.ids.len(), longest);
                values.reserve(rows.saturating_mul(length));
                for row in 0..rows {
                    // Rows that no text fills repeat the first one.
                    let ids = texts.ids.get(row).or(texts.ids.first());
                    let ids = ids.copied().unwrap_or_default();
                    let second = texts.second_segments.get(row).copied();
                    let second = second.unwrap_or(ids.len());
                    let value = |i| role.value(ids, second, i, texts.padding);
                    values.extend((0..length).map(|i| convert(value(i))));
                }
            }
        }
        Ok((shape, values))
    }
}

impl Role {
    /// The value at token `i` of a row that begins with `ids`, those from `second` on of the second
    /// segment.
    fn value(self, ids: &[u32], second: usize, i: usize, padding: Padding) -> u32 {
        match self {
            Self::InputIds => ids.get(i).copied().unwrap_or(padding.id),
            Self::AttentionMask if i < ids.len() => 1,
            Self::AttentionMask => padding.mask,
            // Lengths are bounded far below 2³².
            Self::PositionIds => i as u32,
            Self::TokenTypeIds => u32::from((second..ids.len()).contains(&i)),
            Self::Offsets | Self::Task { .. } | Self::PastKeyValues { .. } => 0,
        }
    }
}

/// How texts lie in a graph's `input_ids`.
fn layout(onnx: &OnnxModel) -> TextLayout {
    let named = |name: &str| onnx.inputs().find(|input| input.name() == name);
    let shape_of = |name: &str| named(name).and_then(shape);
    match (shape_of("input_ids"), named("offsets")) {
        (Some([_]), Some(_)) => TextLayout::EndToEnd,
        (Some([texts, tokens]), _) => TextLayout::Rows {
            texts: fixed(texts).filter(|&size| size > 0),
            tokens: fixed(tokens).filter(|&size| size > 0),
        },
        _ => TextLayout::Rows {
            texts: None,
            tokens: None,
        },
    }
}

fn meaning(
    onnx: &OnnxModel,
    input: &ValueInfoProto,
    layout: TextLayout,
    stated_head_dim: Option<usize>,
) -> Option<(Role, ElementType)> {
    let element = element_type(&input.r#type)?;
    let shape = shape(input);
    let integers = matches!(element, ElementType::I32 | ElementType::I64);
    let rank = |rank: usize| shape.is_none_or(|shape| shape.len() == rank);
    let per_token = match layout {
        TextLayout::Rows { .. } => rank(2),
        TextLayout::EndToEnd => rank(1),
    };
    let role = match input.name() {
        "input_ids" if per_token && integers => Role::InputIds,
        "attention_mask" if per_token => Role::AttentionMask,
        "position_ids" if per_token && integers => Role::PositionIds,
        "token_type_ids" if per_token => Role::TokenTypeIds,
        "offsets" if layout == TextLayout::EndToEnd && integers && rank(1) => Role::Offsets,
        "task_id" if integers => match shape? {
            [] => Role::Task {
                rank: 0,
                size: None,
            },
            [size] => Role::Task {
                rank: 1,
                size: fixed(size),
            },
            _ => return None,
        },
        name if name.starts_with("past_key_values.") && is_float(element) => {
            let [_, heads, past, head_dim] = shape? else {
                return None;
            };
            let heads = fixed(heads).filter(|_| fixed(past).is_none())?;
            let head_dim = fixed(head_dim)
                .or_else(|| past::head_dim(onnx, name, heads))
                .or(stated_head_dim)?;
            Role::PastKeyValues { heads, head_dim }
        }
        _ => return None,
    };
    Some((role, element))
}

fn is_float(element: ElementType) -> bool {
    matches!(element, ElementType::F32 | ElementType::F16)
}

pub(crate) fn data_type(declared: &Option<TypeProto>) -> Option<DataType> {
    DataType::try_from(tensor_type(declared)?.elem_type()).ok()
}

fn element_type(declared: &Option<TypeProto>) -> Option<ElementType> {
    match data_type(declared)? {
        DataType::Int32 => Some(ElementType::I32),
        DataType::Int64 => Some(ElementType::I64),
        DataType::Float => Some(ElementType::F32),
        DataType::Float16 => Some(ElementType::F16),
        DataType::Bool => Some(ElementType::Bool),
        _ => None,
    }
}

/// The ONNX type, such as `int64`.
fn type_name(declared: &Option<TypeProto>) -> String {
    match declared.as_ref().and_then(|t| t.value.as_ref()) {
        Some(type_proto::Value::TensorType(tensor)) => {
            match DataType::try_from(tensor.elem_type()) {
                Ok(dtype) => format!("{dtype:?}").to_lowercase(),
                Err(_) => format!("element type {}", tensor.elem_type()),
            }
        }
        Some(_) => "not a tensor".to_owned(),
        None => "undeclared".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(fixture: &str, head_dim: Option<usize>) -> Inputs {
        let path = akidb_testing::fixture(fixture);
        Inputs::of(&OnnxModel::open(&path).unwrap(), head_dim).unwrap()
    }

    #[test]
    fn a_decoder_tells_what_it_takes() {
        let inputs = inputs("tiny-f16/onnx/model_fp16.onnx", None);
        assert_eq!(inputs.unknown, [""; 0]);
        let roles: Vec<Role> = inputs.known.iter().map(|i| i.role).collect();
        let past = Role::PastKeyValues {
            heads: 2,
            head_dim: 16,
        };
        assert_eq!(
            roles[..4],
            [Role::InputIds, Role::AttentionMask, Role::PositionIds, past]
        );
        assert_eq!(roles.len(), 3 + 2 * 3);
        assert_eq!(inputs.known[0].element, ElementType::I64);
        assert_eq!(inputs.known[3].element, ElementType::F16);
    }

    #[test]
    fn a_head_dim_that_only_the_config_tells() {
        let file = "tiny-quantized/onnx/model_q4.onnx";
        assert_eq!(inputs(file, None).unknown.len(), 4);
        let stated = inputs(file, Some(16));
        assert_eq!((stated.known.len(), stated.unknown.len()), (7, 0));
    }

    const ROWS: TextLayout = TextLayout::Rows {
        texts: None,
        tokens: None,
    };

    fn tensor(role: Role, layout: TextLayout, mask: u32) -> (Vec<usize>, Vec<i64>) {
        let input = Input {
            name: String::new(),
            role,
            element: ElementType::I64,
        };
        let texts = Texts {
            ids: &[&[5, 6, 7], &[8]],
            second_segments: &[],
            padding: Padding { id: 9, mask },
            task: 4,
        };
        input.tensor(layout, &texts, i64::from).unwrap()
    }

    #[test]
    fn texts_are_padded_on_the_right() {
        let values = |role: Role| tensor(role, ROWS, 0);
        let two_rows = |values: [i64; 6]| (vec![2, 3], values.to_vec());
        assert_eq!(values(Role::InputIds), two_rows([5, 6, 7, 8, 9, 9]));
        assert_eq!(values(Role::AttentionMask), two_rows([1, 1, 1, 1, 0, 0]));
        assert_eq!(values(Role::PositionIds), two_rows([0, 1, 2, 0, 1, 2]));
        assert_eq!(values(Role::TokenTypeIds), two_rows([0; 6]));
        let past = Role::PastKeyValues {
            heads: 2,
            head_dim: 4,
        };
        assert_eq!(values(past), (vec![2, 2, 0, 4], vec![]));
        let masked = tensor(Role::AttentionMask, ROWS, 1);
        assert_eq!(masked, two_rows([1; 6]));
    }

    #[test]
    fn fixed_sizes_are_filled_up() {
        let fixed = TextLayout::Rows {
            texts: Some(3),
            tokens: Some(4),
        };
        let (shape, ids) = tensor(Role::InputIds, fixed, 0);
        assert_eq!(
            (shape, ids),
            (vec![3, 4], vec![5, 6, 7, 9, 8, 9, 9, 9, 5, 6, 7, 9])
        );
        let (_, mask) = tensor(Role::AttentionMask, fixed, 0);
        assert_eq!(mask, [1, 1, 1, 0, 1, 0, 0, 0, 1, 1, 1, 0]);

        let input = Input {
            name: String::new(),
            role: Role::InputIds,
            element: ElementType::I64,
        };
        let small = TextLayout::Rows {
            texts: Some(1),
            tokens: Some(2),
        };
        for ids in [&[&[1][..], &[2]][..], &[&[1, 2, 3]]] {
            let texts = Texts {
                ids,
                second_segments: &[],
                padding: Padding { id: 0, mask: 0 },
                task: 0,
            };
            let error = input.tensor(small, &texts, i64::from).unwrap_err();
            assert_eq!(error.kind(), BackendErrorKind::InvalidInput);
        }
    }

    #[test]
    fn a_bag_is_given_end_to_end() {
        let values = |role: Role| tensor(role, TextLayout::EndToEnd, 0);
        assert_eq!(values(Role::InputIds), (vec![4], vec![5, 6, 7, 8]));
        assert_eq!(values(Role::Offsets), (vec![2], vec![0, 3]));
    }

    #[test]
    fn a_task_is_one_number_or_one_a_text() {
        let task = |rank: usize, size: Option<usize>| tensor(Role::Task { rank, size }, ROWS, 0);
        assert_eq!(task(0, None), (vec![], vec![4]));
        assert_eq!(task(1, Some(1)), (vec![1], vec![4]));
        assert_eq!(task(1, None), (vec![2], vec![4, 4]));
    }
}
