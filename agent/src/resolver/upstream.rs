//! Asking the trusted servers.
//!
//! Each question has a socket of its own, with a source port of the kernel's choice at random
//! that takes datagrams from the one server only, a random id, and random letter case (0x20):
//! all of them must come back. What does not fit is not believed and not given up for: the answer
//! may still come.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use hickory_proto::{
    op::{Edns, Message, Query as Question, ResponseCode},
    rr::{Name, RecordType},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

use super::{
    answer::parse,
    query::{HEADER, MAX_DATAGRAM},
};

/// How often a silent server is asked.
const ROUNDS: usize = 2;
/// Room for a datagram. A longer one is cut off, cannot be read, and is asked for by TCP.
const ROOM: usize = 4_096;

/// The trusted servers, and how long they are given.
pub(super) struct Upstream {
    pub(super) servers: RwLock<Arc<[SocketAddr]>>,
    /// For one server and one try.
    pub(super) one: Duration,
    /// For all together.
    pub(super) all: Duration,
}

/// No server gave an answer to be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoAnswer;

/// Why one server gave none.
enum Fault {
    /// It may still give one.
    Silent,
    /// It will not.
    Unwilling,
}

impl From<io::Error> for Fault {
    fn from(_: io::Error) -> Self {
        Self::Unwilling
    }
}

impl Upstream {
    /// The answer to a question, with code NOERROR or NXDOMAIN. The server that the process named
    /// is asked first, if it is trusted.
    pub(super) async fn ask(
        &self,
        name: &Name,
        record: RecordType,
        named: SocketAddr,
    ) -> Result<Message, NoAnswer> {
        let servers = Arc::clone(&self.servers.read().unwrap_or_else(PoisonError::into_inner));
        let (first, others): (Vec<_>, Vec<_>) =
            servers.iter().copied().partition(|server| *server == named);
        let servers = first.into_iter().chain(others).collect();
        let asked = timeout(self.all, self.rounds(name, record, servers)).await;
        asked.unwrap_or(Err(NoAnswer))
    }

    async fn rounds(
        &self,
        name: &Name,
        record: RecordType,
        mut servers: Vec<SocketAddr>,
    ) -> Result<Message, NoAnswer> {
        for _ in 0..ROUNDS {
            let mut silent = vec![];
            for server in servers {
                match self.one(name, record, server).await {
                    Ok(answer) => return Ok(answer),
                    Err(Fault::Silent) => silent.push(server),
                    Err(Fault::Unwilling) => {}
                }
            }
            servers = silent;
        }
        Err(NoAnswer)
    }

    /// Asks one server, by TCP too if need be, and without EDNS if it does not know that.
    async fn one(
        &self,
        name: &Name,
        record: RecordType,
        server: SocketAddr,
    ) -> Result<Message, Fault> {
        use ResponseCode as Code;
        let mut asked = Asked::new(name, record);
        let mut answer = self.either_way(&asked, server).await?;
        // Code 16 is read as BADSIG, and is BADVERS outside of signatures.
        if matches!(answer.metadata.response_code, Code::FormErr | Code::NotImp | Code::BADSIG) {
            asked = Asked::new(name, record);
            asked.message.edns = None;
            answer = self.either_way(&asked, server).await?;
        }
        match answer.metadata.response_code {
            Code::NoError | Code::NXDomain => Ok(answer),
            _ => Err(Fault::Unwilling),
        }
    }

    async fn either_way(&self, asked: &Asked, server: SocketAddr) -> Result<Message, Fault> {
        let answer = timeout(self.one, by_datagram(asked, server)).await;
        match answer.unwrap_or(Err(Fault::Silent))? {
            Some(answer) => Ok(answer),
            None => timeout(self.one, by_stream(asked, server)).await.unwrap_or(Err(Fault::Silent)),
        }
    }
}

/// Asks by UDP; `None` when it is to be asked by TCP.
async fn by_datagram(asked: &Asked, server: SocketAddr) -> Result<Option<Message>, Fault> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(&asked.bytes()?).await?;
    let mut bytes = Vec::with_capacity(ROOM);
    loop {
        bytes.clear();
        socket.recv_buf(&mut bytes).await?;
        match asked.judge(&bytes) {
            Judged::Answer(answer) if answer.metadata.truncation => return Ok(None),
            Judged::Answer(answer) => return Ok(Some(answer)),
            Judged::Doubtful => return Ok(None),
            Judged::Foreign => {}
        }
    }
}

/// Asks by TCP. Nobody else can write into the connection, so that the letter case is no matter.
async fn by_stream(asked: &Asked, server: SocketAddr) -> Result<Message, Fault> {
    let mut stream = TcpStream::connect(server).await?;
    let question = asked.bytes()?;
    let length = u16::try_from(question.len()).map_err(|_| Fault::Unwilling)?;
    stream.write_all(&[&length.to_be_bytes(), question.as_slice()].concat()).await?;
    let mut bytes = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut bytes).await?;
    match asked.judge(&bytes) {
        Judged::Answer(answer) => Ok(answer),
        Judged::Doubtful => asked.in_any_case(&bytes).ok_or(Fault::Unwilling),
        Judged::Foreign => Err(Fault::Unwilling),
    }
}

/// A question as one server is asked it.
struct Asked {
    message: Message,
    question: Question,
}

/// What a datagram is to a question.
enum Judged {
    /// Its answer.
    Answer(Message),
    /// Its id fits, and something else does not: perhaps of a server that keeps no letter case or
    /// sends no question back. By TCP it is certain.
    Doubtful,
    /// None of it.
    Foreign,
}

impl Asked {
    fn new(name: &Name, record: RecordType) -> Self {
        let mut name = name.to_lowercase();
        name.randomize_label_case();
        let question = Question::query(name, record);
        // The id is of a cryptographic generator.
        let mut message = Message::query();
        message.metadata.recursion_desired = true;
        message.add_query(question.clone());
        let mut edns = Edns::new();
        edns.set_max_payload(MAX_DATAGRAM);
        message.set_edns(edns);
        Self { message, question }
    }

    fn bytes(&self) -> Result<Vec<u8>, Fault> {
        self.message.to_vec().map_err(|_| Fault::Unwilling)
    }

    fn judge(&self, bytes: &[u8]) -> Judged {
        let id = self.message.metadata.id.to_be_bytes();
        if bytes.len() < HEADER || bytes[..2] != id || bytes[2] & 0x80 == 0 {
            return Judged::Foreign;
        }
        let Some(answer) = parse(bytes) else { return Judged::Doubtful };
        match answer.queries.as_slice() {
            [question] if !self.is_same(question) => Judged::Foreign,
            [question] if question.name.eq_case(&self.question.name) => Judged::Answer(answer),
            _ => Judged::Doubtful,
        }
    }

    /// The answer in a message whose id fits, whatever the letter case of the question that it
    /// repeats. One that tells of an error may repeat none.
    fn in_any_case(&self, bytes: &[u8]) -> Option<Message> {
        let answer = parse(bytes)?;
        let is_ours = match answer.queries.as_slice() {
            [question] => self.is_same(question),
            [] => answer.metadata.response_code != ResponseCode::NoError,
            _ => false,
        };
        is_ours.then_some(answer)
    }

    fn is_same(&self, question: &Question) -> bool {
        question.query_type == self.question.query_type
            && question.query_class == self.question.query_class
            && question.name == self.question.name
    }
}
