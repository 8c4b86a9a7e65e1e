//! What a request is answered that does not reach the service.

use bytes::Bytes;
use http::{Method, Response, header::CONTENT_LENGTH, request::Parts};
use ratelimit_algorithms::{Backend, Policies};

use crate::{
    Rejection,
    admission::Standing,
    headers::{self, Lines},
    problem,
    rule::{Answers, Rule},
};

impl<B: Backend, K, P: Policies> Rule<B, K, P> {
    pub(crate) fn answer(
        &self,
        rejection: &Rejection,
        standing: Option<&Standing>,
        lines: &Lines,
        request: &Parts,
    ) -> Response<Bytes> {
        let mut response = match &self.answers {
            Answers::Custom(respond) => respond(rejection, request),
            #[cfg(feature = "grpc")]
            Answers::Grpc => crate::response::grpc::response(rejection),
            Answers::Problems => problem::response(rejection, &self.violated(standing)),
        };
        if let Some(seconds) = rejection.retry_after_secs() {
            headers::retry_after(response.headers_mut(), seconds);
        }
        self.headers.mark(response.headers_mut(), lines);
        // Said here, since a HEAD is told the length of a body that it does not get.
        let length = headers::number(response.body().len() as u64);
        response.headers_mut().insert(CONTENT_LENGTH, length);
        if request.method == Method::HEAD { response.map(|_| Bytes::new()) } else { response }
    }

    /// The names of the policies that denied; of the first, where a cost is beyond it.
    fn violated(&self, standing: Option<&Standing>) -> Vec<&str> {
        match standing {
            None => vec![self.limiter.name()],
            Some(standing) => {
                let each = self.names().zip(&standing.each);
                each.filter(|(_, decision)| !decision.is_allowed()).map(|(name, _)| name).collect()
            }
        }
    }
}
