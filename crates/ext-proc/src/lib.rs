//! Envoy's external processing protocol in front of Rung: an HTTP request of the OpenAI kinds becomes a `RouteRequest`,
//! the decision becomes headers that Envoy's routes match. How a query is decided is the business of the
//! `RouterService` that is asked; sockets, TLS and access are the server's.

mod body;
mod head;
mod mutation;
mod processor;
mod reason;

pub use envoy_types::pb::envoy::service::ext_proc::v3::external_processor_server;
pub use head::names;
pub use processor::{HeaderText, NotAHeader, Options, Processor, service};
pub use reason::Reason;

/// Envoy's messages under short names.
mod wire {
    pub(crate) use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
    pub(crate) use envoy_types::pb::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
    pub(crate) use envoy_types::pb::envoy::extensions::filters::http::ext_proc::v3::ProcessingMode;
    pub(crate) use envoy_types::pb::envoy::extensions::filters::http::ext_proc::v3::processing_mode::{
        BodySendMode, HeaderSendMode,
    };
    pub(crate) use envoy_types::pb::envoy::service::ext_proc::v3::external_processor_server::{
        ExternalProcessor, ExternalProcessorServer,
    };
    pub(crate) use envoy_types::pb::envoy::service::ext_proc::v3::{
        BodyMutation, BodyResponse, CommonResponse, HeaderMutation, HeadersResponse, HttpBody, HttpHeaders,
        ImmediateResponse, ProcessingRequest, ProcessingResponse, body_mutation, processing_request,
        processing_response,
    };
    pub(crate) use envoy_types::pb::envoy::r#type::v3::HttpStatus;
}
