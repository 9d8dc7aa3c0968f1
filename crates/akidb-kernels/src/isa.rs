//! Which instructions this CPU has, asked once.

#[cfg(target_arch = "aarch64")]
use std::arch::is_aarch64_feature_detected;
use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

/// A set of instructions that kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Tier {
    /// What every CPU of the architecture has, without fused multiply-add.
    Portable,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// [`Tier::Avx2`] with AVX-VNNI, which int8 products use.
    AvxVnni,
    /// x86-64 with AVX-512 F, BW, VL and DQ.
    Avx512,
    /// [`Tier::Avx512`] with AVX-512 VNNI, which int8 products use.
    Avx512Vnni,
    /// [`Tier::Avx512Vnni`] with AVX-512 BF16, which bf16 products use.
    Avx512Bf16,
    /// AArch64 with Advanced SIMD.
    Neon,
    /// [`Tier::Neon`] with FEAT_DotProd, which int8 products use.
    NeonDot,
    /// [`Tier::NeonDot`] with FEAT_I8MM, which int8 products use, and FEAT_BF16, which bf16
    /// products use.
    NeonI8mm,
}

impl Tier {
    /// Every tier, slower before faster.
    pub const ALL: [Self; 9] = [
        Self::Portable,
        Self::Avx2,
        Self::AvxVnni,
        Self::Avx512,
        Self::Avx512Vnni,
        Self::Avx512Bf16,
        Self::Neon,
        Self::NeonDot,
        Self::NeonI8mm,
    ];

    /// The name that [`FromStr`] reads: `portable`, `avx2`, `avxvnni`, `avx512`, `avx512vnni`,
    /// `avx512bf16`, `neon`, `neondot` or `neoni8mm`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::AvxVnni => "avxvnni",
            Self::Avx512 => "avx512",
            Self::Avx512Vnni => "avx512vnni",
            Self::Avx512Bf16 => "avx512bf16",
            Self::Neon => "neon",
            Self::NeonDot => "neondot",
            Self::NeonI8mm => "neoni8mm",
        }
    }

    fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni => Self::Avx2.is_available() && is_x86_feature_detected!("avxvnni"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                Self::Avx2.is_available()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512dq")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => {
                Self::Avx512.is_available() && is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16 => {
                Self::Avx512Vnni.is_available() && is_x86_feature_detected!("avx512bf16")
            }
            #[cfg(target_arch = "aarch64")]
            Self::Neon => is_aarch64_feature_detected!("neon"),
            #[cfg(target_arch = "aarch64")]
            Self::NeonDot => Self::Neon.is_available() && is_aarch64_feature_detected!("dotprod"),
            #[cfg(target_arch = "aarch64")]
            Self::NeonI8mm => {
                Self::NeonDot.is_available()
                    && is_aarch64_feature_detected!("i8mm")
                    && is_aarch64_feature_detected!("bf16")
            }
            _ => false,
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Tier {
    type Err = IsaError;

    fn from_str(name: &str) -> Result<Self, IsaError> {
        Self::ALL
            .into_iter()
            .find(|tier| tier.as_str() == name)
            .ok_or_else(|| IsaError::Unknown(name.to_owned()))
    }
}

/// A tier that this CPU is known to have; there is no other way to make one than to ask.
///
/// ```
/// use akidb_kernels::{Isa, Tier};
///
/// let isa = Isa::detect();
/// assert!(Isa::available().any(|other| other == isa));
/// assert_eq!(isa.to_string().parse(), Ok(isa));
/// assert!(Isa::new(Tier::Portable).is_some());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Isa(Tier);

impl Isa {
    /// `None` when this CPU lacks the tier.
    pub fn new(tier: Tier) -> Option<Self> {
        tier.is_available().then_some(Self(tier))
    }

    /// Every tier of this CPU, slower before faster.
    pub fn available() -> impl Iterator<Item = Self> {
        Tier::ALL.into_iter().filter_map(Self::new)
    }

    /// The fastest tier of this CPU.
    pub fn detect() -> Self {
        static FASTEST: OnceLock<Isa> = OnceLock::new();
        *FASTEST.get_or_init(|| Self::available().last().unwrap_or(Self(Tier::Portable)))
    }

    /// Which tier it is.
    pub fn tier(self) -> Tier {
        self.0
    }

    /// Whether the tier has instructions for bf16 products. Without them those are no faster than
    /// products in f32.
    pub fn has_bf16(self) -> bool {
        matches!(self.0, Tier::Avx512Bf16 | Tier::NeonI8mm)
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Isa {
    type Err = IsaError;

    fn from_str(name: &str) -> Result<Self, IsaError> {
        let tier = name.parse()?;
        Self::new(tier).ok_or(IsaError::Unavailable(tier))
    }
}

/// A name that stands for no tier of this CPU.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IsaError {
    /// No tier has this name.
    #[error("unknown instruction set \"{0}\"; known are {known}", known = known())]
    Unknown(String),
    /// The tier exists, but not on this CPU.
    #[error("this CPU lacks {0}")]
    Unavailable(Tier),
}

fn known() -> String {
    Tier::ALL.map(Tier::as_str).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for tier in Tier::ALL {
            assert_eq!(tier.to_string().parse(), Ok(tier));
            match Isa::new(tier) {
                Some(isa) => assert_eq!(tier.as_str().parse(), Ok(isa)),
                None => assert_eq!(
                    tier.as_str().parse::<Isa>(),
                    Err(IsaError::Unavailable(tier))
                ),
            }
        }
        assert_eq!(
            "AVX9".parse::<Isa>(),
            Err(IsaError::Unknown("AVX9".to_owned()))
        );
    }

    #[test]
    fn tiers_of_another_architecture_are_unavailable() {
        let x86 = [
            Tier::Avx2,
            Tier::AvxVnni,
            Tier::Avx512,
            Tier::Avx512Vnni,
            Tier::Avx512Bf16,
        ];
        let arm = [Tier::Neon, Tier::NeonDot, Tier::NeonI8mm];
        if !cfg!(target_arch = "x86_64") {
            assert_eq!(x86.map(Isa::new), [None; 5]);
        }
        if !cfg!(target_arch = "aarch64") {
            assert_eq!(arm.map(Isa::new), [None; 3]);
        }
    }
}
