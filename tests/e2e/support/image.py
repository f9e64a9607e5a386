"""Images made for a test: OCI layouts around the busybox root, tars with hostile members."""

import hashlib
import io
import json
import os
import tarfile


def busybox_root(venv_path):
    """The default box's tar, as the install has it."""
    return os.path.join(os.path.dirname(venv_path), "..", "share", "venv", "boxes", "busybox", "rootfs.tar")


def tar(members):
    """A tar of (name, type, content or target, mode) as they are, however strange; type as tarfile's, "f" or "d"."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, kind, content, mode in members:
            info = tarfile.TarInfo(name)
            info.mode = mode
            info.type = {"f": tarfile.REGTYPE, "d": tarfile.DIRTYPE}.get(kind, kind)
            data = content.encode() if kind == "f" else b""
            info.size = len(data)
            if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                info.linkname = content
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def layout(project, name, layers, config=None, architecture="amd64", **more):
    """Write an OCI image layout directory below the project; gives its name."""
    def blob(data):
        digest = hashlib.sha256(data).hexdigest()
        project.file(f"{name}/blobs/sha256/{digest}", data)
        return "sha256:" + digest, len(data)

    def descriptor(kind, data, **extra):
        digest, size = blob(data)
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": digest, "size": size, **extra}

    image = {"architecture": architecture, "os": "linux", "config": config or {},
             "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()
                                                       for layer in layers]}}
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": descriptor("config.v1+json", json.dumps(image).encode()),
                "layers": [descriptor("layer.v1.tar", layer) for layer in layers]}
    index = {"schemaVersion": 2, "manifests": [
        descriptor("manifest.v1+json", json.dumps(manifest).encode(), **more)]}
    project.file(f"{name}/index.json", json.dumps(index))
    project.file(f"{name}/oci-layout", '{"imageLayoutVersion": "1.0.0"}')
    return name
