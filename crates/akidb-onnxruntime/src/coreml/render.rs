//! A coverage as text.

use std::fmt::{self, Display, Formatter};

use super::coverage::{Coverage, OperatorCount, Refusal};

/// Most lines of one kind: a hostile graph can have a reason a node.
const SHOWN: usize = 30;

impl Display for Coverage {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (supported, nodes) = (self.supported, self.nodes);
        let percent = (supported * 100).checked_div(nodes).unwrap_or(100);
        let pieces = match self.partitions {
            1 => "one partition".to_owned(),
            n => format!("{n} partitions"),
        };
        writeln!(
            f,
            "{supported} of {nodes} nodes ({percent} %) are for CoreML, in {pieces}"
        )?;
        operators(f, "supported", self, |count| count.supported)?;
        operators(f, "unsupported", self, |count| count.unsupported)?;
        reasons(f, "refused", &self.refusals)?;
        reasons(f, "note", &self.notes)?;
        if self.variable_shape > 0 {
            writeln!(
                f,
                "  {} nodes have an input of variable shape, which runs slowly or on the CPU",
                self.variable_shape
            )?;
        }
        if self.unknown_shape > 0 {
            writeln!(
                f,
                "  {} nodes have an input whose shape the file doesn't say",
                self.unknown_shape
            )?;
        }
        if self.external_initializers > 0 {
            writeln!(
                f,
                "  {} weights are in another file, which needs an ONNX Runtime newer than 1.24",
                self.external_initializers
            )?;
        }
        Ok(())
    }
}

fn operators(
    f: &mut Formatter<'_>,
    what: &str,
    coverage: &Coverage,
    count: impl Fn(&OperatorCount) -> usize,
) -> fmt::Result {
    let counts = coverage.operators.iter().map(|(op, c)| (op, count(c)));
    let counts: Vec<_> = counts.filter(|&(_, n)| n > 0).collect();
    if counts.is_empty() {
        return Ok(());
    }
    let shown = counts.iter().take(3 * SHOWN);
    let shown: Vec<_> = shown.map(|(op, n)| format!("{op} {n}")).collect();
    let more = if shown.len() < counts.len() {
        ", …"
    } else {
        ""
    };
    writeln!(f, "  {what}: {}{more}", shown.join(", "))
}

fn reasons(f: &mut Formatter<'_>, what: &str, reasons: &[Refusal]) -> fmt::Result {
    for reason in reasons.iter().take(SHOWN) {
        let Refusal {
            operator,
            why,
            nodes,
            example,
        } = reason;
        let nodes = if *nodes == 1 {
            format!("{example:?}")
        } else {
            format!("{nodes} nodes, such as {example:?}")
        };
        writeln!(f, "  {what}: {operator}: {why} ({nodes})")?;
    }
    match reasons.len().saturating_sub(SHOWN) {
        0 => Ok(()),
        more => writeln!(f, "  {what}: {more} more reasons"),
    }
}
