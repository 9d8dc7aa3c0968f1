//! What a number format brings to the products.

use std::ops::Range;

use bytes::Bytes;

use crate::ShapeError;
use crate::precision::Precision;
use crate::product::gemm::{Epilogue, Product, run};
use crate::product::rows::{Encoding, RowsOf};

/// Packed weights of one number format.
pub(crate) trait PackedWeight: Sized {
    /// Their name in errors.
    const NAME: &'static str;

    /// What is to be known of them besides K and N.
    type Parameters;

    /// Form of the rows that they are multiplied with.
    type Encoding: Encoding;

    /// What is to be known of them besides K and N.
    fn parameters(&self) -> Self::Parameters;

    /// Arithmetic of their product.
    fn precision(parameters: Self::Parameters) -> Precision;

    /// K and N.
    fn shape(&self) -> [usize; 2];

    /// Their bytes, for [`Self::from_parts`].
    fn parts(&self) -> Vec<&[u8]>;

    /// What [`Self::parts`] gave for weights of the same shape and parameters, without a copy.
    fn from_parts(
        shape: [usize; 2],
        parameters: Self::Parameters,
        parts: Vec<Bytes>,
    ) -> Result<Self, ShapeError>;

    /// Tells rows what they need to know of these weights before they are packed.
    fn prepare(&self, _encoding: &mut Self::Encoding) {}

    /// Rows, which must be prepared for these weights, and the weights.
    fn product<'a>(
        &'a self,
        a: &'a RowsOf<Self::Encoding>,
    ) -> Result<impl Product + 'a, ShapeError>;

    /// As [`Rows::multiply`](crate::Rows::multiply).
    fn multiply(
        &self,
        a: &RowsOf<Self::Encoding>,
        panels: Range<usize>,
        c: &mut [&mut [f32]],
        epilogue: Epilogue<'_>,
    ) -> Result<(), ShapeError> {
        run(Self::NAME, &self.product(a)?, panels, c, epilogue)
    }
}

/// All of `N` parts. An error when there is another number of them.
pub(crate) fn all_parts<const N: usize>(
    op: &'static str,
    parts: Vec<Bytes>,
) -> Result<[Bytes; N], ShapeError> {
    ShapeError::length(op, "parts", N, parts.len())?;
    parts
        .try_into()
        .map_err(|_| ShapeError::size(op, "parts", N))
}

/// Makes the types that stand for a weight of any format, and for rows packed for it, from a line
/// a format: its folder, its name, its parameters where it has any, and its packed weights.
macro_rules! formats {
    ($(
        $(#[$doc:meta])*
        $room:ident: $Format:ident $(($parameters:ident: $Parameters:ty))? = $Packed:ty;
    )*) => {
        /// How weights are written down.
        #[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
        pub enum WeightFormat {
            $($(#[$doc])* $Format $(($Parameters))?,)*
        }

        /// A weight matrix `B[K, N]` packed in the form that its product reads: cut into panels of
        /// [`NR`] columns.
        ///
        /// ```
        /// use akidb_kernels::{Epilogue, Isa, PackedF32, Rows, ShapeError, Weight};
        ///
        /// // [1 2 3] · [[1 4], [2 5], [3 6]], the matrix given as two rows of K = 3 weights
        /// let mut b = PackedF32::zeros(3, 2)?;
        /// b.write_nk(0, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])?;
        /// let b = Weight::F32(b);
        /// let mut a = Rows::new(Isa::detect());
        /// a.pack_from(&b, 1, |_, _| Ok::<_, ShapeError>(Some(&[1.0, 2.0, 3.0][..])))?;
        /// let mut c = [0.0; 2];
        /// a.multiply(&b, 0..b.panels(), &mut [&mut c], Epilogue::Store)?;
        /// assert_eq!(c, [14.0, 32.0]);
        /// # Ok::<(), ShapeError>(())
        /// ```
        #[derive(Debug)]
        pub enum Weight {
            $($(#[$doc])* $Format($Packed),)*
        }

        /// Rows of `A[M, K]` in the form that the product with a [`Weight`] reads. Memory is kept
        /// for the next ones.
        #[derive(Debug, Clone)]
        pub struct Rows {
            $($room: RowsOf<<$Packed as PackedWeight>::Encoding>,)*
        }

        impl WeightFormat {
            /// Arithmetic of the product, never [`Precision::Auto`].
            pub fn precision(self) -> Precision {
                match self {
                    $(Self::$Format $(($parameters))? => {
                        <$Packed>::precision(($($parameters)?))
                    })*
                }
            }
        }

        impl Weight {
            /// How the weights are written down.
            pub fn format(&self) -> WeightFormat {
                match self {
                    $(Self::$Format(_weight) => {
                        $(let $parameters = _weight.parameters();)?
                        WeightFormat::$Format $(($parameters))?
                    })*
                }
            }

            /// K and N.
            pub fn shape(&self) -> [usize; 2] {
                match self {
                    $(Self::$Format(weight) => weight.shape(),)*
                }
            }

            /// The bytes of the weights as they lie in memory, in some parts, which
            /// [`Self::from_parts`] takes on a machine of the same byte order.
            pub fn parts(&self) -> Vec<&[u8]> {
                match self {
                    $(Self::$Format(weight) => weight.parts(),)*
                }
            }

            /// What [`Self::parts`] gave for a weight of this format, with K and N as `shape`,
            /// without a copy: for example of a mapped file. It can't be written.
            ///
            /// # Errors
            /// When there can be no such weight, there is another number of parts, or one has
            /// another length or doesn't start at a multiple of 64.
            pub fn from_parts(
                format: WeightFormat,
                shape: [usize; 2],
                parts: Vec<Bytes>,
            ) -> Result<Self, ShapeError> {
                match format {
                    $(WeightFormat::$Format $(($parameters))? => {
                        <$Packed>::from_parts(shape, ($($parameters)?), parts).map(Self::$Format)
                    })*
                }
            }
        }

        impl Rows {
            /// No rows, for the kernels of `isa`.
            pub fn new(isa: Isa) -> Self {
                Self { $($room: RowsOf::new(isa),)* }
            }

            /// Takes `rows` rows for `weight` that `source` gives: it is called with 0, 1, 2, …
            /// and room for a row, and returns another slice where it doesn't use that.
            ///
            /// # Errors
            /// What `source` returns, and when a row has another length than K, or memory runs
            /// out. There are no rows then.
            pub fn pack_from<'a, E: From<ShapeError>>(
                &mut self,
                weight: &Weight,
                rows: usize,
                source: impl FnMut(usize, &mut [f32]) -> Result<Option<&'a [f32]>, E>,
            ) -> Result<(), E> {
                let [k, _] = weight.shape();
                match weight {
                    $(Weight::$Format(weight) => {
                        weight.prepare(&mut self.$room.encoding);
                        self.$room.pack_from(rows, k, source)
                    })*
                }
            }

            /// Takes the rows of all `parts`, packed for `weight`, one part after another.
            ///
            /// # Errors
            /// When parts were packed for other weights, or memory runs out. There are no rows
            /// then.
            pub fn concat(&mut self, weight: &Weight, parts: &[&Self]) -> Result<(), ShapeError> {
                match weight {
                    $(Weight::$Format(_) => {
                        let parts: Vec<_> = parts.iter().map(|part| &part.$room).collect();
                        self.$room.concat(&parts)
                    })*
                }
            }

            /// Number of rows (M), packed for `weight`.
            pub fn count(&self, weight: &Weight) -> usize {
                match weight {
                    $(Weight::$Format(_) => self.$room.rows(),)*
                }
            }

            /// Multiplies the rows, packed for `weight`, with the columns of it that lie in `panels`.
            ///
            /// `c` holds one slice per row. It is as wide as `panels`: [`NR`] columns a panel, where
            /// the last panel of a weight ends with its column N. With [`Epilogue::Gated`],
            /// `panels` are whole pairs, NR columns of C a pair, and the last pair may have fewer
            /// columns in C, at least one. Callers split work by giving each thread other panels or
            /// other rows; the bits stay the same: each element is one sum over K, from zero upwards,
            /// which is added to C at its end.
            ///
            /// # Errors
            /// When rows were packed for a weight of another K or format, `panels` ends beyond the
            /// weight or cuts a pair, or `c` has another shape.
            pub fn multiply(
                &self,
                weight: &Weight,
                panels: Range<usize>,
                c: &mut [&mut [f32]],
                epilogue: Epilogue<'_>,
            ) -> Result<(), ShapeError> {
                match weight {
                    $(Weight::$Format(weight) => {
                        weight.multiply(&self.$room, panels, c, epilogue)
                    })*
                }
            }
        }
    };
}

pub(crate) use formats;
