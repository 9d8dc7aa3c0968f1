//! The options of each provider, under ONNX Runtime's own names.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How an option is written for ONNX Runtime.
trait Text {
    /// `switch` has the words for false and true.
    fn text(&self, switch: [&str; 2]) -> String;
}

impl Text for bool {
    fn text(&self, [off, on]: [&str; 2]) -> String {
        if *self { on } else { off }.to_owned()
    }
}

macro_rules! text_by_display {
    ($($type:ty),*) => {$(
        impl Text for $type {
            fn text(&self, _switch: [&str; 2]) -> String {
                self.to_string()
            }
        }
    )*};
}
text_by_display!(u32, u64, i32, String);

impl Text for PathBuf {
    fn text(&self, _switch: [&str; 2]) -> String {
        self.to_string_lossy().into_owned()
    }
}

/// Option types with named values.
macro_rules! named_values {
    ($(#[$doc:meta])* $name:ident { $($(#[$value_doc:meta])* $value:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name {
            $($(#[$value_doc])* $value,)*
        }

        impl Text for $name {
            fn text(&self, _switch: [&str; 2]) -> String {
                match self {
                    $(Self::$value => $text,)*
                }
                .to_owned()
            }
        }
    };
}

/// Structs of options, each under its name in ONNX Runtime. What is `None` is left to it.
macro_rules! options {
    (
        $(#[$doc:meta])*
        $name:ident, switch $switch:expr,
        { $($(#[$option_doc:meta])* $option:ident: $type:ty = $key:literal,)* }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $($(#[$option_doc])* #[serde(skip_serializing_if = "Option::is_none")] pub $option: Option<$type>,)*
        }

        impl $name {
            /// Those that are set, as ONNX Runtime takes them.
            pub(super) fn entries(&self) -> Vec<(&'static str, String)> {
                let mut entries = Vec::new();
                $(if let Some(value) = &self.$option {
                    entries.push(($key, value.text($switch)));
                })*
                entries
            }
        }
    };
}

const NUMBERS: [&str; 2] = ["0", "1"];
const WORDS: [&str; 2] = ["false", "true"];

named_values! {
    /// Which of a Mac's processors CoreML may use.
    MlComputeUnits {
        /// All.
        All = "ALL",
        /// The CPU and the GPU.
        CpuAndGpu = "CPUAndGPU",
        /// The CPU and the Neural Engine.
        CpuAndNeuralEngine = "CPUAndNeuralEngine",
        /// The CPU alone.
        CpuOnly = "CPUOnly",
    }
}

named_values! {
    /// Form of the model that is made for CoreML.
    ModelFormat {
        /// macOS 12 or newer; knows more operators.
        #[serde(rename = "MLProgram", alias = "ml_program")]
        MlProgram = "MLProgram",
        /// macOS 10.15 or newer.
        #[serde(rename = "NeuralNetwork", alias = "neural_network")]
        NeuralNetwork = "NeuralNetwork",
    }
}

named_values! {
    /// What CoreML spends its time on when it prepares a model.
    SpecializationStrategy {
        /// Little.
        Default = "Default",
        /// Quicker runs, for a longer start and more memory.
        FastPrediction = "FastPrediction",
    }
}

options! {
    /// Options of Apple's CoreML.
    CoreMlOptions, switch NUMBERS,
    {
        /// Which processors may be used.
        ml_compute_units: MlComputeUnits = "MLComputeUnits",
        /// Form of the model.
        model_format: ModelFormat = "ModelFormat",
        /// Take only nodes whose inputs have static shapes.
        require_static_input_shapes: bool = "RequireStaticInputShapes",
        /// Take nodes in the bodies of `Loop`, `Scan` and `If` too.
        enable_on_subgraphs: bool = "EnableOnSubgraphs",
        /// Directory that keeps compiled models for the next start. A changed model needs another one.
        model_cache_directory: PathBuf = "ModelCacheDirectory",
        /// What to spend the time of loading on.
        specialization_strategy: SpecializationStrategy = "SpecializationStrategy",
        /// Sum up in f16 on the GPU.
        allow_low_precision_accumulation_on_gpu: bool = "AllowLowPrecisionAccumulationOnGPU",
        /// Log which processor each operator goes to.
        profile_compute_plan: bool = "ProfileComputePlan",
    }
}

named_values! {
    /// By how much a provider's memory grows.
    ArenaExtendStrategy {
        /// To the next power of two.
        NextPowerOfTwo = "kNextPowerOfTwo",
        /// By what is needed.
        SameAsRequested = "kSameAsRequested",
    }
}

named_values! {
    /// How cuDNN looks for a convolution's algorithm.
    CudnnConvAlgoSearch {
        /// Tries all.
        Exhaustive = "EXHAUSTIVE",
        /// Guesses.
        Heuristic = "HEURISTIC",
        /// Takes its default.
        Default = "DEFAULT",
    }
}

options! {
    /// Options of NVIDIA's CUDA.
    CudaOptions, switch NUMBERS,
    {
        /// Which GPU, from 0.
        device_id: u32 = "device_id",
        /// Most bytes of the GPU's memory that the arena takes.
        gpu_mem_limit: u64 = "gpu_mem_limit",
        /// By how much the arena grows.
        arena_extend_strategy: ArenaExtendStrategy = "arena_extend_strategy",
        /// How a convolution's algorithm is found.
        cudnn_conv_algo_search: CudnnConvAlgoSearch = "cudnn_conv_algo_search",
        /// Give convolutions all the workspace that they ask for.
        cudnn_conv_use_max_workspace: bool = "cudnn_conv_use_max_workspace",
        /// Pad one-dimensional convolutions to `[N, C, 1, D]` rather than `[N, C, D, 1]`.
        cudnn_conv1d_pad_to_nc1d: bool = "cudnn_conv1d_pad_to_nc1d",
        /// Record a CUDA graph; for inputs of one shape only.
        enable_cuda_graph: bool = "enable_cuda_graph",
        /// Exact layer normalisation in the fused operator.
        enable_skip_layer_norm_strict_mode: bool = "enable_skip_layer_norm_strict_mode",
        /// Multiply f32 in TF32 (10 bits of mantissa).
        use_tf32: bool = "use_tf32",
        /// Keep channels last.
        prefer_nhwc: bool = "prefer_nhwc",
        /// Which attention kernels may be used, as a sum of ONNX Runtime's flags.
        sdpa_kernel: u32 = "sdpa_kernel",
        /// Fuse a convolution's bias.
        fuse_conv_bias: bool = "fuse_conv_bias",
        /// Copy on the stream that computes.
        do_copy_in_default_stream: bool = "do_copy_in_default_stream",
    }
}

options! {
    /// Options of NVIDIA's TensorRT; memory is counted in bytes.
    TensorRtOptions, switch NUMBERS,
    {
        /// Which GPU, from 0.
        device_id: u32 = "device_id",
        /// Compute in f16.
        fp16_enable: bool = "trt_fp16_enable",
        /// Compute in bf16.
        bf16_enable: bool = "trt_bf16_enable",
        /// Compute in int8.
        int8_enable: bool = "trt_int8_enable",
        /// Keep built engines.
        engine_cache_enable: bool = "trt_engine_cache_enable",
        /// Where to keep them.
        engine_cache_path: PathBuf = "trt_engine_cache_path",
        /// How the kept files' names start.
        engine_cache_prefix: String = "trt_engine_cache_prefix",
        /// Keep how long kernels took.
        timing_cache_enable: bool = "trt_timing_cache_enable",
        /// Where to keep it.
        timing_cache_path: PathBuf = "trt_timing_cache_path",
        /// Use the timings of another GPU of the same kind.
        force_timing_cache: bool = "trt_force_timing_cache",
        /// Most memory of an engine's workspace.
        max_workspace_size: u64 = "trt_max_workspace_size",
        /// Fewest nodes of a part of the graph.
        min_subgraph_size: u32 = "trt_min_subgraph_size",
        /// Most attempts at cutting the graph into parts.
        max_partition_iterations: u32 = "trt_max_partition_iterations",
        /// Use the deep learning accelerator.
        dla_enable: bool = "trt_dla_enable",
        /// Which one.
        dla_core: u32 = "trt_dla_core",
        /// File with int8 ranges.
        int8_calibration_table_name: String = "trt_int8_calibration_table_name",
        /// The file is TensorRT's own.
        int8_use_native_calibration_table: bool = "trt_int8_use_native_calibration_table",
        /// Write the parts of the graph to files.
        dump_subgraphs: bool = "trt_dump_subgraphs",
        /// Build engines without weights.
        weight_stripped_engine_enable: bool = "trt_weight_stripped_engine_enable",
        /// Where such engines find them.
        onnx_model_folder_path: PathBuf = "trt_onnx_model_folder_path",
        /// Kept engines are encrypted.
        engine_decryption_enable: bool = "trt_engine_decryption_enable",
        /// Library that decrypts them.
        engine_decryption_lib_path: PathBuf = "trt_engine_decryption_lib_path",
        /// Build one engine after the other.
        force_sequential_engine_build: bool = "trt_force_sequential_engine_build",
        /// Engines share their memory.
        context_memory_sharing_enable: bool = "trt_context_memory_sharing_enable",
        /// Compute layer normalisation in f32 where the rest is f16.
        layer_norm_fp32_fallback: bool = "trt_layer_norm_fp32_fallback",
        /// Log each step of building.
        detailed_build_log: bool = "trt_detailed_build_log",
        /// Build quicker by guessing.
        build_heuristics_enable: bool = "trt_build_heuristics_enable",
        /// Use weights that are 0 by pattern.
        sparsity_enable: bool = "trt_sparsity_enable",
        /// 0 to 5: how long to build for.
        builder_optimization_level: u32 = "trt_builder_optimization_level",
        /// Number of further streams; -1 lets TensorRT choose.
        auxiliary_streams: i32 = "trt_auxiliary_streams",
        /// Sources of kernels to use (`+CUBLAS`) or not (`-CUDNN`).
        tactic_sources: String = "trt_tactic_sources",
        /// Libraries with further kernels, by `;`.
        extra_plugin_lib_paths: String = "trt_extra_plugin_lib_paths",
        /// Smallest shapes, as `input_ids:1x1,…`.
        profile_min_shapes: String = "trt_profile_min_shapes",
        /// Largest shapes.
        profile_max_shapes: String = "trt_profile_max_shapes",
        /// Shapes to be quick at.
        profile_opt_shapes: String = "trt_profile_opt_shapes",
        /// Record a CUDA graph.
        cuda_graph_enable: bool = "trt_cuda_graph_enable",
        /// Write an ONNX file that refers to the built engine.
        dump_ep_context_model: bool = "trt_dump_ep_context_model",
        /// Where to.
        ep_context_file_path: PathBuf = "trt_ep_context_file_path",
        /// 1 to hold the engine in that file.
        ep_context_embed_mode: u32 = "trt_ep_context_embed_mode",
        /// Build engines that run on other GPUs too.
        engine_hw_compatible: bool = "trt_engine_hw_compatible",
    }
}

options! {
    /// Options of Intel's OpenVINO.
    OpenVinoOptions, switch WORDS,
    {
        /// `CPU`, `GPU`, `GPU.1`, `NPU`, `HETERO:NPU,GPU` …
        device_type: String = "device_type",
        /// Arithmetic: `FP32`, `FP16` or `ACCURACY`.
        precision: String = "precision",
        /// Number of threads.
        num_of_threads: u32 = "num_of_threads",
        /// Number of runs at a time.
        num_streams: u32 = "num_streams",
        /// Directory that keeps compiled models.
        cache_dir: PathBuf = "cache_dir",
        /// Let the CPU rest while the GPU works.
        enable_opencl_throttling: bool = "enable_opencl_throttling",
        /// Rewrite quantized graphs for the NPU.
        enable_qdq_optimizer: bool = "enable_qdq_optimizer",
        /// Compile each shape anew.
        disable_dynamic_shapes: bool = "disable_dynamic_shapes",
        /// OpenVINO's own settings, as JSON.
        load_config: String = "load_config",
    }
}

options! {
    /// Options of Google's XNNPACK.
    XnnpackOptions, switch NUMBERS,
    {
        /// Number of its own threads.
        intra_op_num_threads: u32 = "intra_op_num_threads",
    }
}

named_values! {
    /// Which kind of device.
    DeviceFilter {
        /// A processor.
        Cpu = "cpu",
        /// A graphics card.
        Gpu = "gpu",
        /// A neural processor.
        Npu = "npu",
        /// Any of them.
        Any = "any",
    }
}

named_values! {
    /// Which of several devices.
    PerformancePreference {
        /// The system's default.
        Default = "default",
        /// The fastest.
        HighPerformance = "high_performance",
        /// The most frugal.
        MinimumPower = "minimum_power",
    }
}

/// Options of Microsoft's DirectML.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DirectMlOptions {
    /// Which device, from 0; the others then have no effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_id: Option<i32>,
    /// Which kind of device: `gpu`, `npu` or `any`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_filter: Option<DeviceFilter>,
    /// Which of several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub performance_preference: Option<PerformancePreference>,
}

/// A provider in a library of its own, such as `onnxruntime-ep-mlx`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginOptions {
    /// The plugin's library.
    pub library: PathBuf,
    /// Which kind of device to use; any without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceFilter>,
    /// The provider's own options.
    #[serde(flatten)]
    pub options: BTreeMap<String, String>,
}
