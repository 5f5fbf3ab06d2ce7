//! Version 1 of the REST API. A published type never changes its meaning; fields may be added.
//!
//! Requests refuse unknown fields; responses may grow, so readers ignore what they do not know, and enums decode to `Unknown`.

pub mod cloud_init;
pub mod common;
pub mod connect;
pub mod devices;
pub mod drive;
pub mod event;
pub mod exec;
pub mod facts;
pub mod host;
pub mod image;
pub mod interface;
pub mod metrics;
pub mod node;
pub mod operation;
pub mod outside;
pub mod vm;
pub mod webhook;

pub use cloud_init::{CloudInit, Credentials, Password};
pub use common::{Labels, List, Reason};
pub use connect::ConnectControl;
pub use devices::{CpuTemplate, PatchRateLimits, RateLimits};
pub use drive::{Drive, PatchDrive};
pub use event::{Event, EventKind};
pub use exec::{ExecControl, ExecRequest, ExecResult, Exit, Resize, TerminalControl};
pub use facts::Facts;
pub use host::{Host, HostState, HostStatus, PatchHost};
pub use image::{CreateImage, Image, ImageKind, ImageSpec, ImageState, ImageStatus, PatchImage};
pub use interface::{Interface, InterfaceStatus};
pub use metrics::{HostMetrics, VmMetrics};
pub use node::{ActorKind, ActorView, Doing, NodeTree};
pub use operation::{Operation, OperationStatus, OperationStep, StepStatus};
pub use outside::{VmmDrive, VmmInterface, VmmMetrics, VmmProcess, VmmSafety};
pub use vm::{
    AgentStatus, Confinement, CreateVm, Metadata, PatchVm, PatchVmSpec, RebootRequest, RestartPolicy, StopRequest, Vm, VmSpec,
    VmState, VmStatus, VmmStatus,
};
pub use webhook::{
    CreateWebhook, DeadLetter, Delivery, DeliveryFailure, DeliverySuccess, PatchWebhook, PatchWebhookSpec, Redeliver, Webhook,
    WebhookFilter, WebhookSpec, WebhookState, WebhookStatus, WebhookTest,
};
