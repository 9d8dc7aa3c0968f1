//! Which variant suits a machine.

/// What a machine is good at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// It runs CoreML.
    pub coreml: bool,
    /// Its CPU multiplies bf16 faster than f32.
    pub bf16: bool,
}

/// Half precision, which bf16 and CoreML run as it is.
const HALF: [&str; 9] = [
    "fp16",
    "f32",
    "int8",
    "quantized",
    "uint8",
    "q4f16",
    "q4",
    "bnb4",
    "safetensors",
];

/// 8 bits, which every CPU runs fastest.
const EIGHT_BITS: [&str; 9] = [
    "int8",
    "quantized",
    "uint8",
    "q4f16",
    "q4",
    "fp16",
    "f32",
    "bnb4",
    "safetensors",
];

impl Machine {
    /// The variant to take of those that there are, and why. `None` when there is none.
    pub fn choose<'a>(&self, variants: &[&'a str]) -> Option<(&'a str, String)> {
        let (order, reason) = match (self.coreml, self.bf16) {
            (true, _) => (HALF, "CoreML runs f16"),
            (_, true) => (HALF, "this CPU has bf16 arithmetic"),
            _ => (EIGHT_BITS, "8-bit arithmetic is the fastest on this CPU"),
        };
        if let [only] = variants {
            return Some((only, "it is the only one".to_owned()));
        }
        let best = order.iter().enumerate().find_map(|(rank, name)| {
            let found = variants.iter().find(|v| *v == name)?;
            Some((rank, *found))
        });
        match best {
            Some((0, name)) => Some((name, reason.to_owned())),
            Some((_, name)) => Some((name, format!("{reason}; there is no {}", order.first()?))),
            None => {
                let first = variants.first()?;
                Some((first, "it is the first: none has a known name".to_owned()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choice_follows_the_machine_and_what_there_is() {
        let published = [
            "bnb4",
            "f32",
            "fp16",
            "int8",
            "q4",
            "q4f16",
            "quantized",
            "uint8",
        ];
        let machine = |coreml, bf16| Machine { coreml, bf16 };
        let choose =
            |machine: Machine, variants: &[&'static str]| machine.choose(variants).unwrap();
        let plain = machine(false, false);
        assert_eq!(
            choose(plain, &published),
            (
                "int8",
                "8-bit arithmetic is the fastest on this CPU".to_owned()
            )
        );
        assert_eq!(choose(machine(false, true), &published).0, "fp16");
        assert_eq!(choose(machine(true, false), &published).0, "fp16");
        let (name, why) = choose(plain, &["f32", "safetensors"]);
        assert_eq!((name, why.ends_with("there is no int8")), ("f32", true));
        assert_eq!(choose(plain, &["safetensors"]).1, "it is the only one");
        assert_eq!(choose(plain, &["model_a", "model_b"]).0, "model_a");
        assert_eq!(plain.choose(&[]), None);
    }
}
