//! `grpc.health.v1.Health`: what `/health/ready` says.

use std::pin::Pin;

use futures_util::{Stream, StreamExt, stream};
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::lifecycle::Lifecycle;

pub(crate) struct Readiness(pub(crate) Lifecycle);

fn answer(ready: bool) -> HealthCheckResponse {
    let status = if ready {
        ServingStatus::Serving
    } else {
        ServingStatus::NotServing
    };
    HealthCheckResponse {
        status: status.into(),
    }
}

/// The whole server, or one service of it.
fn check_name(request: &Request<HealthCheckRequest>) -> Result<(), Status> {
    let name = &request.get_ref().service;
    if name.is_empty() || super::NAMES.contains(&name.as_str()) {
        return Ok(());
    }
    Err(Status::not_found(format!("there is no service {name:?}")))
}

#[tonic::async_trait]
impl Health for Readiness {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        check_name(&request)?;
        Ok(Response::new(answer(self.0.is_ready())))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        check_name(&request)?;
        let first = (self.0.clone(), None);
        let states = stream::unfold(first, |(mut lifecycle, before)| async move {
            let mut ready = lifecycle.is_ready();
            while before == Some(ready) {
                if lifecycle.is_closing() {
                    return None;
                }
                lifecycle.changed().await?;
                ready = lifecycle.is_ready();
            }
            Some((ready, (lifecycle, Some(ready))))
        });
        let answers = states.map(|ready| Ok(answer(ready)));
        Ok(Response::new(Box::pin(answers)))
    }
}
