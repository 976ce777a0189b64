"""Makes a certificate on a host, as if an authority had issued it: ``certificate.py folder name first-day last-day``.

Days count from today. With a fifth argument it is its own issuer.
"""

import datetime
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

folder, name, first, last, *own = sys.argv[1:]
key = ec.generate_private_key(ec.SECP256R1())
subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
issuer = subject if own else x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "an authority")])
days = [datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=int(day)) for day in (first, last)]
names = x509.Extension(x509.SubjectAlternativeName.oid, False, x509.SubjectAlternativeName([x509.DNSName(name)]))
made = x509.CertificateBuilder(issuer, subject, key.public_key(), 1, *days, [names]).sign(key, hashes.SHA256())
private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
Path(folder).mkdir(exist_ok=True)
Path(folder, "fullchain.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
Path(folder, "privkey.pem").write_bytes(private)
