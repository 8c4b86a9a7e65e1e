//! Options of the layer beyond one limit of one size, behind actix-web too.

use std::sync::mpsc;

use actix_web::{
    App, Error, HttpMessage as _, HttpResponse,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    error::ErrorUnauthorized,
    http::StatusCode,
    middleware::{Next, from_fn},
    test, web,
};
use ratelimit_actix::RateLimit;
use ratelimit_algorithms::{FixedWindow, Limiter, Live};
use ratelimit_http::{ActualCost, RateLimitLayer, Warning, cost_header};

use crate::support::{Store, limiter, store};

#[actix_web::test]
async fn a_request_costs_what_its_response_says() {
    let layer = RateLimitLayer::new(limiter(store(), "api", 10), "everyone")
        .settle_by(cost_header("x-cost"));
    let work = async || HttpResponse::Ok().insert_header(("x-cost", "4")).finish();
    let app = App::new().wrap(RateLimit::new(layer)).route("/", web::get().to(work));
    let app = test::init_service(app).await;
    for remaining in ["9", "5", "1"] {
        let response = test::call_service(&app, test::TestRequest::default().to_request()).await;
        assert_eq!(response.headers().get("x-ratelimit-remaining").unwrap(), remaining);
    }
}

#[actix_web::test]
async fn a_limit_can_change_while_it_is_in_use() {
    let live = Live::new("api", FixedWindow::per_minute(1)).unwrap();
    let limiter = Limiter::with_policies(store(), live.clone()).unwrap();
    let limit = RateLimit::new(RateLimitLayer::new(limiter, "everyone"));
    let app = App::new().wrap(limit).route("/", web::get().to(async || "hello"));
    let app = test::init_service(app).await;
    let ask =
        async || test::call_service(&app, test::TestRequest::default().to_request()).await.status();
    assert_eq!(ask().await, StatusCode::OK);
    assert_eq!(ask().await, StatusCode::TOO_MANY_REQUESTS);
    live.update(FixedWindow::per_minute(2)).unwrap();
    assert_eq!(ask().await, StatusCode::OK);
}

#[actix_web::test]
async fn a_limiter_that_is_applied_twice_is_noticed() {
    let (tell, heard) = mpsc::channel();
    let layer = RateLimitLayer::new(limiter(store(), "api", 10), "everyone")
        .on_warning(move |warning| tell.send(warning.clone()).unwrap());
    let app = App::new()
        .wrap(RateLimit::new(layer.clone()))
        .wrap(RateLimit::new(layer))
        .route("/", web::get().to(async || "hello"));
    let app = test::init_service(app).await;
    test::call_service(&app, test::TestRequest::default().to_request()).await;
    let warning = heard.try_recv().unwrap();
    assert!(matches!(warning, Warning::AppliedTwice { limiter } if limiter == "api"));
}

/// Refuses every request as middlewares do: by an error, of which actix-web makes the response. Tells that
/// it was free, where that is asked.
async fn refuse(
    request: ServiceRequest,
    _: Next<impl MessageBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    if let Some(cost) = request.extensions().get::<ActualCost>() {
        cost.set("api", 0).unwrap();
    }
    Err(ErrorUnauthorized("no session"))
}

/// The response that a client gets.
fn response<B: MessageBody + 'static>(result: Result<ServiceResponse<B>, Error>) -> HttpResponse {
    match result {
        Ok(response) => response.into_parts().1.map_into_boxed_body(),
        Err(error) => error.error_response(),
    }
}

/// The status and the remaining permits of each response to refused requests.
async fn refused(layer: RateLimitLayer<Store, &'static str>) -> Vec<(u16, String)> {
    let app = App::new()
        .wrap(from_fn(refuse))
        .wrap(RateLimit::new(layer))
        .route("/", web::get().to(async || "hello"));
    let app = test::init_service(app).await;
    let mut responses = Vec::new();
    for _ in 0..5 {
        let request = test::TestRequest::default().to_request();
        let response = response(test::try_call_service(&app, request).await);
        let remaining = response.headers().get("x-ratelimit-remaining").unwrap();
        let remaining = remaining.to_str().unwrap().to_owned();
        responses.push((response.status().as_u16(), remaining));
    }
    responses
}

// FAULTS 239.
#[actix_web::test]
async fn a_refusal_by_an_inner_middleware_is_a_response_to_the_client() {
    let layer = || RateLimitLayer::new(limiter(store(), "api", 3), "everyone");
    let limited = [(401, "2"), (401, "1"), (401, "0"), (429, "0"), (429, "0")];
    let limited = limited.map(|(status, remaining)| (status, remaining.to_owned()));
    assert_eq!(refused(layer()).await, limited);
    assert_eq!(refused(layer().refund_unanswered()).await, limited, "it was answered");
    let by_status = layer().settle_by(|response| (response.status == 401).then_some(0));
    assert_eq!(refused(by_status).await, vec![(401, "2".to_owned()); 5], "it is settled");
    let at_end = layer().settle_at_end();
    assert_eq!(refused(at_end).await, vec![(401, "2".to_owned()); 5], "it told its cost");
}

#[actix_web::test]
async fn an_error_stays_what_it_is_under_its_headers() {
    let layer = RateLimitLayer::new(limiter(store(), "api", 9), "everyone");
    for layer in [layer.clone(), layer.headers([])] {
        let app = App::new().wrap(from_fn(refuse)).wrap(RateLimit::new(layer));
        let app = test::init_service(app.route("/", web::get().to(async || "hello"))).await;
        let request = test::TestRequest::default().to_request();
        let error = test::try_call_service(&app, request).await.err().unwrap();
        assert_eq!(error.to_string(), "no session");
        assert_eq!(error.as_response_error().status_code(), StatusCode::UNAUTHORIZED);
        assert_eq!(body_of(error.error_response()).await, "no session");
    }
}

async fn body_of(response: HttpResponse) -> String {
    let body = actix_web::body::to_bytes(response.into_body()).await.unwrap();
    String::from_utf8(body.into()).unwrap()
}

#[actix_web::test]
async fn a_settle_function_that_panics_is_an_internal_error() {
    let layer = RateLimitLayer::new(limiter(store(), "api", 9), "everyone")
        .settle_by(|_| panic!("unlucky"));
    let app = App::new().wrap(RateLimit::new(layer)).route("/", web::get().to(async || "hello"));
    let app = test::init_service(app).await;
    for remaining in ["8", "7"] {
        let request = test::TestRequest::default().to_request();
        let response = response(test::try_call_service(&app, request).await);
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(response.headers().get("x-ratelimit-remaining").unwrap(), remaining);
        assert_eq!(body_of(response).await, r#"{"error":"internal server error"}"#);
    }
}
