//! Who asks, how urgently, and for what.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};

use utoipa::IntoParams;

use akidb_embedding::{EmbedOptions, Input, RerankOptions};

use crate::caller::Caller;
use crate::problem::{Cause, Problem};
use crate::service::{
    Class, EmbedAnswer, EmbedRequest, EmbeddingService, ModelStatus, MostInputs, RerankAnswer,
    RerankRequest, ServiceError,
};

/// Says how urgent a request is: `interactive` or `bulk`.
pub(crate) const CLASS: HeaderName = HeaderName::from_static("x-akidb-class");

/// That header, for the OpenAPI document.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "only its documentation is used")]
pub(crate) struct ClassHeader {
    /// How urgent the request is; without it, requests of many inputs are bulk work.
    #[param(rename = "x-akidb-class", value_type = Option<ClassName>)]
    class: Option<String>,
}

/// Interactive requests go before bulk work.
#[derive(Debug, utoipa::ToSchema)]
#[schema(rename_all = "lowercase")]
#[allow(dead_code, reason = "only its documentation is used")]
pub(crate) enum ClassName {
    Interactive,
    Bulk,
}

/// Who asks, and how urgently.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    caller: Caller,
    /// Where the caller says so.
    pub(crate) class: Option<Class>,
    most: MostInputs,
}

impl<S: Sync> FromRequestParts<S> for Ask {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let class = class(&parts.headers)?;
        let Ok(caller) = Caller::from_request_parts(parts, state).await;
        Ok(Self {
            caller,
            class,
            most: MostInputs::Setting,
        })
    }
}

/// What the headers of a request, HTTP's or gRPC's, say of its class.
pub(crate) fn class(headers: &HeaderMap) -> Result<Option<Class>, Problem> {
    let Some(value) = headers.get(&CLASS) else {
        return Ok(None);
    };
    match value.as_bytes() {
        b"interactive" => Ok(Some(Class::Interactive)),
        b"bulk" => Ok(Some(Class::Bulk)),
        _ => {
            let message = format!("the header {CLASS} is interactive or bulk");
            Err(Problem::new(Cause::Header, message).at(CLASS.as_str()))
        }
    }
}

impl Ask {
    /// Who asks: an API key's name, or an address.
    pub(crate) fn client(&self) -> &Arc<str> {
        &self.caller.client
    }

    /// Takes as many inputs as there is memory for, whatever the settings say of their number.
    pub(crate) fn of_any_number(mut self) -> Self {
        self.most = MostInputs::Memory;
        self
    }

    /// Embeds for this caller. What says nothing of its class and has many inputs is bulk work.
    pub(crate) async fn embed(
        self,
        service: &EmbeddingService,
        model: Option<String>,
        inputs: Vec<Input<'static>>,
        options: EmbedOptions,
    ) -> Result<EmbedAnswer, Problem> {
        let request = EmbedRequest {
            class: self.class.unwrap_or_else(|| service.class_of(inputs.len())),
            model,
            inputs,
            options,
            client: self.caller.client,
            deadline: self.caller.deadline,
        };
        let answer = service.embed_within(request, &self.caller.held, self.most);
        Ok(answer.await?)
    }

    /// Ranks documents for this caller, as [`Self::embed`] embeds.
    pub(crate) async fn rerank(
        self,
        service: &EmbeddingService,
        ranking: Ranking,
    ) -> Result<RerankAnswer, Problem> {
        let documents = ranking.documents.len();
        let request = RerankRequest {
            class: self.class.unwrap_or_else(|| service.class_of(documents)),
            model: ranking.model,
            query: ranking.query,
            documents: ranking.documents,
            options: ranking.options,
            keep_documents: ranking.keep_documents,
            client: self.caller.client,
            deadline: self.caller.deadline,
        };
        let answer = service.rerank_within(request, &self.caller.held);
        Ok(answer.await?)
    }
}

/// What is to be ranked.
#[derive(Debug)]
pub(crate) struct Ranking {
    pub(crate) model: Option<String>,
    pub(crate) query: String,
    pub(crate) documents: Vec<String>,
    pub(crate) options: RerankOptions,
    pub(crate) keep_documents: bool,
}

/// The model of this name, which isn't loaded.
pub(crate) fn known(service: &EmbeddingService, name: &str) -> Result<ModelStatus, Problem> {
    let mut models = service.models().into_iter();
    let missing = || ServiceError::ModelNotFound {
        model: name.to_owned(),
        known: service.model_names().map(str::to_owned).collect(),
    };
    let found = models.find(|model| model.name == name);
    Ok(found.ok_or_else(missing)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_class_is_what_the_header_says() {
        let of = |value: &'static str| {
            let headers = [(CLASS, value.parse().unwrap())];
            class(&headers.into_iter().collect())
        };
        assert_eq!(of("bulk").unwrap(), Some(Class::Bulk));
        assert_eq!(of("interactive").unwrap(), Some(Class::Interactive));
        assert_eq!(
            of("urgent").unwrap_err().field.as_deref(),
            Some(CLASS.as_str())
        );
        assert_eq!(class(&HeaderMap::new()).unwrap(), None);
    }
}
