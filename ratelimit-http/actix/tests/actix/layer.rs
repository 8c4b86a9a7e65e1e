//! What the layer can do beyond one limit of one size, it can do behind actix-web too.

use std::sync::mpsc;

use actix_web::{App, HttpResponse, http::StatusCode, test, web};
use ratelimit_actix::RateLimit;
use ratelimit_algorithms::{FixedWindow, Limiter, Live};
use ratelimit_http::{RateLimitLayer, Warning, cost_header};

use crate::support::{limiter, store};

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
