//! The parts of a request that the layer sees, and the request itself.

use std::{future::poll_fn, task::Poll};

use actix_web::{App, HttpMessage, http::StatusCode, test, web};
use ratelimit_actix::RateLimit;
use ratelimit_algorithms::{Backend, Decision, FixedWindow, Limiter};
use ratelimit_backend::{Names, Reply};
use ratelimit_core::{Action, Batch};
use ratelimit_http::{ClientIp, Extension, KeyFn, RateLimitLayer, UnixSocket};

use crate::support::{Store, limiter, store};

/// The finding of an authenticating middleware.
#[derive(Clone)]
struct User(u64);

#[actix_web::test]
async fn keys_can_be_made_of_what_actix_web_knows() {
    #[derive(Clone)]
    struct Pattern(String);
    let key = Extension::new(|Pattern(pattern): &Pattern| pattern.clone())
        .and(Extension::new(|User(id): &User| *id));
    let limit = RateLimit::new(RateLimitLayer::new(limiter(store(), "api", 1), key))
        .extensions(|request, told| {
            told.insert(Pattern(request.match_pattern().unwrap()));
        })
        .extensions(|request, told| {
            told.insert(request.extensions().get::<User>().unwrap().clone());
        });
    let page = async |id: web::Path<u64>| format!("page {id}");
    let app = App::new().wrap(limit).route("/pages/{id}", web::get().to(page));
    let app = test::init_service(app).await;
    for (path, user, status) in [
        ("/pages/1", 7, StatusCode::OK),
        ("/pages/2", 7, StatusCode::TOO_MANY_REQUESTS),
        ("/pages/2", 8, StatusCode::OK),
    ] {
        let request = test::TestRequest::with_uri(path).to_request();
        request.extensions_mut().insert(User(user));
        assert_eq!(test::call_service(&app, request).await.status(), status, "{path} {user}");
    }
}

#[actix_web::test]
async fn a_unix_socket_is_one_if_the_layer_is_told() {
    let client = ClientIp::builder().x_forwarded_for().trusted_unix_socket().build().unwrap();
    let layer = RateLimitLayer::new(limiter(store(), "api", 1), client);
    let app = |limit| App::new().wrap(limit).route("/", web::get().to(async || "hello"));
    let request = || test::TestRequest::get().insert_header(("x-forwarded-for", "192.0.2.1"));

    let silent = test::init_service(app(RateLimit::new(layer.clone()))).await;
    let response = test::call_service(&silent, request().to_request()).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR, "there is no peer");

    let limit = RateLimit::new(layer).extensions(|_, told| {
        told.insert(UnixSocket);
    });
    let told = test::init_service(app(limit)).await;
    let response = test::call_service(&told, request().to_request()).await;
    assert_eq!(response.status(), StatusCode::OK, "the proxy knows the client");
}

#[actix_web::test]
async fn a_layer_inside_is_told_what_one_outside_was_told() {
    let of_user = Extension::new(|User(id): &User| *id);
    let outside = RateLimit::new(RateLimitLayer::new(limiter(store(), "outside", 2), "everyone"))
        .extensions(|_, told| {
            told.insert(User(7));
        });
    let inside = RateLimit::new(RateLimitLayer::new(limiter(store(), "inside", 1), of_user));
    let hello = async |decision: web::ReqData<Decision>| decision.limit.to_string();
    let app = App::new().wrap(inside).wrap(outside).route("/", web::get().to(hello));
    let app = test::init_service(app).await;
    let response = test::call_service(&app, test::TestRequest::default().to_request()).await;
    assert_eq!(test::read_body(response).await, "1", "the decision is that of the layer inside");
    let response = test::call_service(&app, test::TestRequest::default().to_request()).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
}

/// A store that has to be awaited.
#[derive(Clone, Debug)]
struct Elsewhere(Store);

impl Backend for Elsewhere {
    fn apply<'a>(&'a self, batch: Batch<'a>, action: Action) -> Reply<'a> {
        let mut is_due = false;
        Reply::waiting(async move {
            poll_fn(|context| {
                context.waker().wake_by_ref();
                if std::mem::replace(&mut is_due, true) { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            self.0.apply(batch, action).await
        })
    }

    fn names(&self) -> &Names {
        self.0.names()
    }
}

#[actix_web::test]
async fn a_store_elsewhere_is_awaited() {
    let limiter = Limiter::new(Elsewhere(store()), "api", FixedWindow::per_minute(1)).unwrap();
    let limit = RateLimit::new(RateLimitLayer::new(limiter, "everyone"));
    let app = App::new().wrap(limit).route("/", web::get().to(async || "hello"));
    let app = test::init_service(app).await;
    for status in [StatusCode::OK, StatusCode::TOO_MANY_REQUESTS] {
        let request = test::TestRequest::default().to_request();
        assert_eq!(test::call_service(&app, request).await.status(), status);
    }
}
