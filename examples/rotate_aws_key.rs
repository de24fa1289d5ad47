//! The access key of a user of AWS, renewed with an overlap: AWS lets a user have two.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod rotation;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use dsm_core::provider::{IssuedKeys as _, Key, Login, Options, Proof, Provider as _, Target};
use dsm_core::secret::{AccessKey, CloudProvider, Managed, OutputValue, SecretData, SecretText};
use dsm_providers::aws_iam::AwsIam;
use dsm_test_servers::moto::Moto;

const USER: &str = "deployer";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    if !dsm_test_servers::is_there(Moto::available()) {
        return Ok(());
    }
    // A throwaway IAM that checks signatures and policies once the four calls of `prepare` are over.
    // At AWS itself the address is `iam.amazonaws.com`, and there is no option `sts`.
    let server = Moto::start(4)?;
    let (id, secret) = prepare(server.address())?;
    let target = || Target {
        name: "aws".to_owned(),
        address: server.address().to_string(),
        options: Options::from([("sts".to_owned(), server.address().to_string())]),
        admin: Login {
            user: id.clone(),
            proof: Proof::Password(SecretText::new(secret.clone())),
        },
    };
    let provider = AwsIam::default();
    let first = provider.issue_key(&target(), USER).await?;
    let key = AccessKey {
        provider: CloudProvider::Aws,
        access_key_id: Some(first.id),
        secret_access_key: Some(first.secret),
        ttl: None,
        access_key_id_label: None,
        secret_access_key_label: None,
        managed: Some(Managed {
            user: Some(USER.to_owned()),
            ..rotation::managed(None)
        }),
    };
    let data = SecretData {
        access_keys: vec![key],
        ..SecretData::default()
    };
    let (before, after) = rotation::rotate(Arc::new(provider.clone()), target(), data).await?;

    let keys = provider.keys().ok_or("it has keys")?;
    for (when, shown) in [("before", before), ("after", after)] {
        let text = |name| shown.value(name).and_then(OutputValue::expose);
        let key = Key {
            id: text("access_key_id").ok_or("an id")?.to_owned(),
            secret: SecretText::new(text("secret_access_key").ok_or("a key")?),
            public: None,
        };
        // Both, as long as the overlap lasts.
        let said = keys.common().log_in(&target(), USER, &key).await?;
        println!("what was served {when} the rotation, {}: {said:?}", key.id);
    }
    Ok(())
}

/// Makes the user, and an admin who may do everything; gives the admin's key.
fn prepare(server: SocketAddr) -> Result<(String, String), Box<dyn std::error::Error>> {
    let policy = "%7B%22Version%22:%222012-10-17%22,%22Statement%22:%5B%7B%22Effect%22:%22Allow%22,\
                  %22Action%22:%22%2A%22,%22Resource%22:%22%2A%22%7D%5D%7D";
    call(server, &format!("Action=CreateUser&UserName={USER}"))?;
    call(server, "Action=CreateUser&UserName=admin")?;
    let put = "Action=PutUserPolicy&UserName=admin&PolicyName=all";
    call(server, &format!("{put}&PolicyDocument={policy}"))?;
    let made = call(server, "Action=CreateAccessKey&UserName=admin")?;
    let text = |name: &str| {
        let (_, rest) = made.split_once(&format!("<{name}>"))?;
        Some(rest.split_once('<')?.0.to_owned())
    };
    let id = text("AccessKeyId").ok_or("an id")?;
    Ok((id, text("SecretAccessKey").ok_or("a key")?))
}

fn call(server: SocketAddr, fields: &str) -> Result<String, Box<dyn std::error::Error>> {
    let fields = format!("{fields}&Version=2010-05-08");
    // Who it is meant for stands in the scope of the signature, which is not checked yet.
    let scope = "AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/iam/aws4_request, \
                 SignedHeaders=host, Signature=none";
    let mut stream = TcpStream::connect(server)?;
    write!(
        stream,
        "POST / HTTP/1.0\r\nhost: {server}\r\nauthorization: {scope}\r\n\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{fields}",
        fields.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if !answer.starts_with("HTTP/1.0 200") && !answer.starts_with("HTTP/1.1 200") {
        return Err(format!("{fields}: {answer}").into());
    }
    Ok(answer)
}
