//! The report for people.

use std::fmt::Write;

use super::Report;
use super::machine::{Machine, OnnxRuntime};
use super::model::{ModelReport, Outcome};

pub(super) fn text(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a string doesn't fail.
    let _ = machine(&mut out, &report.machine);
    match &report.model {
        Some(report) => {
            let _ = model(&mut out, report);
        }
        None => out.push_str(
            "\nnext         akidb-embed doctor MODEL says how a model is, and what runs it\n",
        ),
    }
    out
}

fn machine(out: &mut String, machine: &Machine) -> std::fmt::Result {
    writeln!(
        out,
        "program      akidb-embed {} for {} on {}",
        machine.version, machine.arch, machine.os
    )?;
    writeln!(
        out,
        "cpu          {} (of {}), {} threads",
        machine.cpu_tier,
        machine.cpu_tiers.join(", "),
        machine.threads
    )?;
    if let (Some(total), Some(free)) = (machine.memory_mb, machine.memory_available_mb) {
        writeln!(out, "memory       {total} MB, {free} MB of it available")?;
    }
    writeln!(out, "native       built in")?;
    writeln!(out, "rten         built in")?;
    match &machine.onnxruntime {
        OnnxRuntime::Found {
            library,
            version,
            providers,
            ..
        } => {
            let version = version.as_deref().unwrap_or("of unknown version");
            writeln!(out, "onnxruntime  {version}, {}", library.display())?;
            writeln!(out, "             providers: {}", providers.join(", "))?;
        }
        OnnxRuntime::Missing { why, hint } => {
            writeln!(out, "onnxruntime  {why}")?;
            if let Some(hint) = hint {
                writeln!(out, "             hint: {hint}")?;
            }
        }
    }
    for (i, model) in machine.models.iter().enumerate() {
        let title = if i == 0 { "models" } else { "" };
        if model.id == model.directory {
            writeln!(out, "{title:<12} {} (built in)", model.id)?;
        } else {
            writeln!(out, "{title:<12} {} in {}", model.id, model.directory)?;
        }
    }
    match &machine.packed_weights {
        Some(directory) => writeln!(
            out,
            "cache        {} ({} MB of packed weights)",
            directory.display(),
            machine.packed_weights_mb.unwrap_or(0)
        ),
        None => writeln!(out, "cache        none"),
    }
}

fn model(out: &mut String, report: &ModelReport) -> std::fmt::Result {
    writeln!(out)?;
    if let Some(auto) = &report.auto {
        writeln!(out, "model        {}, {} weights", auto.model, auto.variant)?;
        writeln!(
            out,
            "auto         {}, {}, {}",
            auto.backend, auto.precision, auto.device
        )?;
        let why = match (&auto.fallback, auto.backend.as_str()) {
            (Some(reason), _) => reason.as_str(),
            (None, "native") => "the native engine knows this model",
            (None, _) if auto.variant == "coreml" => "its files were written for CoreML",
            (None, _) => "its provider was named",
        };
        writeln!(out, "             because {why}")?;
    }
    writeln!(out)?;
    writeln!(
        out,
        "{:<12} {:>9} {:>10} {:>12}  on",
        "backend", "precision", "load ms", "one text ms"
    )?;
    for backend in &report.backends {
        match &backend.outcome {
            Outcome::Runs {
                precision,
                device,
                load_ms,
                one_text_ms,
                ..
            } => writeln!(
                out,
                "{:<12} {precision:>9} {load_ms:>10.0} {one_text_ms:>12.2}  {device}",
                backend.backend
            )?,
            Outcome::Fails { why } => writeln!(out, "{:<12} can't: {why}", backend.backend)?,
        }
    }
    for (file, coverage) in report.coreml.iter().filter(|_| report.tells_coreml) {
        write!(out, "\ncoreml       {file}\n{coverage}")?;
    }
    if let Some(checks) = &report.checks {
        writeln!(out)?;
        for (command, line) in &checks.lines {
            writeln!(out, "{command:<13}  {line}")?;
        }
        writeln!(out, "\nnext           {}", checks.next)?;
    }
    Ok(())
}
