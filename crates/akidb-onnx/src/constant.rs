//! From a [`TensorProto`] to a [`Tensor`], wherever the values are.

use bytes::Bytes;

use crate::error::Error;
use crate::external::{ExternalFiles, Location};
use crate::proto::TensorProto;
use crate::proto::tensor_proto::{DataLocation, DataType as ProtoDataType};
use crate::tensor::{DataType, Tensor, byte_len};

/// The tensor; its bytes are those of the file wherever the file holds them as such.
pub(crate) fn tensor(proto: &TensorProto, files: &ExternalFiles) -> Result<Tensor, Error> {
    let name = proto.name();
    let dtype = data_type(proto)?;
    let dims = dims(proto)?;
    let len = byte_len(name, dtype, &dims)?;
    let data = if is_external(proto) {
        if proto.raw_data.is_some() || typed_len(proto) > 0 {
            return Err(Error::tensor(name, "has both external and own values"));
        }
        files.read(name, &Location::of(proto)?, len)?
    } else {
        own_data(proto, dtype)?
    };
    Tensor::new(name, dtype, dims, data)
}

/// Element type, when a [`Tensor`] can hold it.
pub(crate) fn data_type(proto: &TensorProto) -> Result<DataType, Error> {
    let code = proto.data_type.unwrap_or(0);
    DataType::from_onnx(code).ok_or_else(|| {
        let why = match ProtoDataType::try_from(code) {
            Ok(ProtoDataType::Undefined) => "has no element type".to_owned(),
            Ok(known) => format!("element type {known:?} is not supported"),
            Err(_) => format!("unknown element type {code}"),
        };
        Error::tensor(proto.name(), why)
    })
}

/// Shape.
pub(crate) fn dims(proto: &TensorProto) -> Result<Vec<usize>, Error> {
    let dims = proto.dims.iter().map(|&dim| usize::try_from(dim));
    dims.collect::<Result<_, _>>().map_err(|_| {
        let shown = &proto.dims[..proto.dims.len().min(8)];
        Error::tensor(proto.name(), format!("impossible shape {shown:?}"))
    })
}

/// True when the values are in another file.
pub fn is_external(proto: &TensorProto) -> bool {
    proto.data_location.unwrap_or(0) == DataLocation::External as i32
}

fn typed_len(proto: &TensorProto) -> usize {
    proto.float_data.len()
        + proto.int32_data.len()
        + proto.int64_data.len()
        + proto.double_data.len()
        + proto.uint64_data.len()
        + proto.string_data.len()
}

fn own_data(proto: &TensorProto, dtype: DataType) -> Result<Bytes, Error> {
    let typed = match dtype {
        DataType::F32 => bytes_of(&proto.float_data, f32::to_le_bytes),
        DataType::I64 => bytes_of(&proto.int64_data, i64::to_le_bytes),
        DataType::I32 => bytes_of(&proto.int32_data, i32::to_le_bytes),
        // Narrow types are stored one to an i32, half floats by their bits.
        DataType::F16 | DataType::BF16 => {
            narrow(proto, |v| Some(u16::try_from(v).ok()?.to_le_bytes()))?
        }
        // Of 4-bit types, the byte of two elements.
        DataType::U8 | DataType::I4 | DataType::U4 => {
            narrow(proto, |v| Some(u8::try_from(v).ok()?.to_le_bytes()))?
        }
        DataType::I8 => narrow(proto, |v| Some(i8::try_from(v).ok()?.to_le_bytes()))?,
    };
    match &proto.raw_data {
        Some(_) if typed_len(proto) > 0 => Err(Error::tensor(proto.name(), "has its values twice")),
        Some(raw) => Ok(raw.clone()),
        None => Ok(typed.into()),
    }
}

fn bytes_of<T: Copy, const N: usize>(values: &[T], bytes: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|&v| bytes(v)).collect()
}

fn narrow<const N: usize>(
    proto: &TensorProto,
    bytes: impl Fn(i32) -> Option<[u8; N]>,
) -> Result<Vec<u8>, Error> {
    let mut out = Vec::with_capacity(proto.int32_data.len() * N);
    for &value in &proto.int32_data {
        let bytes = bytes(value).ok_or_else(|| {
            Error::tensor(proto.name(), format!("value {value} does not fit its type"))
        })?;
        out.extend(bytes);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(proto: &TensorProto) -> Result<Tensor, Error> {
        tensor(proto, &ExternalFiles::none())
    }

    fn proto(data_type: ProtoDataType, dims: &[i64]) -> TensorProto {
        TensorProto {
            name: Some("t".into()),
            data_type: Some(data_type as i32),
            dims: dims.to_vec(),
            ..Default::default()
        }
    }

    #[test]
    fn values_are_found_in_every_member() {
        let mut p = proto(ProtoDataType::Float, &[2]);
        p.float_data = vec![1.5, -2.0];
        assert_eq!(read(&p).unwrap().to_f32_vec().unwrap(), [1.5, -2.0]);
        let mut p = proto(ProtoDataType::Float16, &[1]);
        p.int32_data = vec![0x3c00];
        assert_eq!(read(&p).unwrap().to_f32_vec().unwrap(), [1.0]);
        let mut p = proto(ProtoDataType::Bfloat16, &[]);
        p.int32_data = vec![0x3f80];
        assert_eq!(read(&p).unwrap().to_f32_vec().unwrap(), [1.0]);
        let mut p = proto(ProtoDataType::Int64, &[1, 1]);
        p.int64_data = vec![-7];
        assert_eq!(read(&p).unwrap().to_i64_vec().unwrap(), [-7]);
        let mut p = proto(ProtoDataType::Int32, &[1]);
        p.int32_data = vec![-7];
        assert_eq!(read(&p).unwrap().to_i64_vec().unwrap(), [-7]);
        let mut p = proto(ProtoDataType::Int8, &[2]);
        p.int32_data = vec![-128, 127];
        assert_eq!(read(&p).unwrap().data().as_ref(), [0x80, 0x7f]);
        let mut p = proto(ProtoDataType::Uint8, &[2]);
        p.raw_data = Some(Bytes::from_static(&[1, 2]));
        assert_eq!(read(&p).unwrap().data().as_ref(), [1, 2]);
        let mut p = proto(ProtoDataType::Int4, &[3]);
        p.int32_data = vec![0xf1, 0x07];
        assert_eq!(read(&p).unwrap().data().as_ref(), [0xf1, 0x07]);
    }

    #[test]
    fn contradictions_are_refused() {
        let mut p = proto(ProtoDataType::Uint8, &[1]);
        p.int32_data = vec![256];
        assert!(read(&p).unwrap_err().to_string().contains("does not fit"));
        p.int32_data = vec![255];
        read(&p).unwrap();
        p.raw_data = Some(Bytes::from_static(&[255]));
        assert!(read(&p).unwrap_err().to_string().contains("twice"));
        let p = proto(ProtoDataType::Float, &[-1]);
        assert!(
            read(&p)
                .unwrap_err()
                .to_string()
                .contains("impossible shape")
        );
        let p = proto(ProtoDataType::String, &[0]);
        assert!(read(&p).unwrap_err().to_string().contains("not supported"));
        let p = proto(ProtoDataType::Float, &[1]);
        assert!(read(&p).unwrap_err().to_string().contains("there are 0"));
    }

    #[test]
    fn bytes_without_a_file_have_no_external_data() {
        let mut p = proto(ProtoDataType::Float, &[1]);
        p.data_location = Some(DataLocation::External as i32);
        assert!(
            read(&p)
                .unwrap_err()
                .to_string()
                .contains("without location")
        );
        p.external_data = vec![crate::proto::StringStringEntryProto {
            key: Some("location".into()),
            value: Some("weights".into()),
        }];
        assert!(read(&p).unwrap_err().to_string().contains("not in a file"));
    }
}
