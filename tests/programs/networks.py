"""Neural networks that fit the thermometer's data."""

from collections import OrderedDict

import torch
import torch.nn as nn
import torch.optim as optim

torch.set_printoptions(edgeitems=2, linewidth=75)
t_c = [0.5, 14.0, 15.0, 28.0, 11.0, 8.0, 3.0, -4.0, 6.0, 13.0, 21.0]
t_u = [35.7, 55.9, 58.2, 81.9, 56.3, 48.9, 33.9, 21.8, 48.4, 60.4, 68.4]
t_c = torch.tensor(t_c).unsqueeze(1)
t_u = torch.tensor(t_u).unsqueeze(1)
print(t_u.shape)
t_un_train, t_un_val = 0.1 * t_u[:9], 0.1 * t_u[9:]
t_c_train, t_c_val = t_c[:9], t_c[9:]


def known(module):
    """Give all parameters values that do not depend on a random generator."""
    with torch.no_grad():
        for k, p in enumerate(module.parameters()):
            steps = torch.arange(p.numel(), dtype=torch.float32)
            p.copy_((torch.sin(steps * 1.7 + k) * 0.5).view(p.shape))
    return module


linear_model = known(nn.Linear(1, 1))
print(linear_model(t_un_val))
print(linear_model.weight, linear_model.bias)
x = torch.ones(10, 1)
print(linear_model(x))
optimizer = optim.SGD(linear_model.parameters(), lr=1e-2)
print(list(linear_model.parameters()))


def training_loop(
    n_epochs, optimizer, model, loss_fn, t_u_train, t_u_val, c_train, c_val
):
    for epoch in range(1, n_epochs + 1):
        t_p_train = model(t_u_train)
        loss_train = loss_fn(t_p_train, c_train)
        t_p_val = model(t_u_val)
        loss_val = loss_fn(t_p_val, c_val)
        optimizer.zero_grad()
        loss_train.backward()
        optimizer.step()
        if epoch == 1 or epoch % 200 == 0:
            print(
                f"Epoch {epoch}, Training loss {loss_train.item():.3f},"
                f" Validation loss {loss_val.item():.3f}"
            )


training_loop(
    600, optimizer, linear_model, nn.MSELoss(), t_un_train, t_un_val, t_c_train, t_c_val
)
print(linear_model.weight)
print(linear_model.bias)

seq_model = nn.Sequential(nn.Linear(1, 13), nn.Tanh(), nn.Linear(13, 1))
print(seq_model)
print([param.shape for param in seq_model.parameters()])
for name, param in seq_model.named_parameters():
    print(name, param.shape)
seq_model = nn.Sequential(
    OrderedDict(
        [
            ("hidden_linear", nn.Linear(1, 8)),
            ("hidden_activation", nn.Tanh()),
            ("output_linear", nn.Linear(8, 1)),
        ]
    )
)
print(seq_model)
known(seq_model)
for name, param in seq_model.named_parameters():
    print(name, param.shape)
print(seq_model.output_linear.bias)
optimizer = optim.SGD(seq_model.parameters(), lr=1e-3)
training_loop(
    600, optimizer, seq_model, nn.MSELoss(), t_un_train, t_un_val, t_c_train, t_c_val
)
print("output", seq_model(t_un_val))
print("answer", t_c_val)
print("hidden", seq_model.hidden_linear.weight.grad.shape)
optimizer = optim.Adam(known(seq_model).parameters(), lr=1e-2)
training_loop(
    400, optimizer, seq_model, nn.MSELoss(), t_un_train, t_un_val, t_c_train, t_c_val
)
print(optimizer)


class SubclassModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden_linear = nn.Linear(1, 13)
        self.hidden_activation = nn.Tanh()
        self.output_linear = nn.Linear(13, 1)

    def forward(self, input):
        hidden_t = self.hidden_linear(input)
        activated_t = self.hidden_activation(hidden_t)
        return self.output_linear(activated_t)


subclass_model = SubclassModel()
print(subclass_model)
print(
    list(subclass_model.state_dict()),
    subclass_model.load_state_dict(known(SubclassModel()).state_dict()),
)
for type_str, model in [("seq", seq_model), ("subclass", subclass_model)]:
    for name_str, param in model.named_parameters():
        print(
            "{:10s} {:21s} {:19s} {}".format(
                type_str, name_str, str(param.shape), param.numel()
            )
        )
print(subclass_model(t_un_val))
softmax = nn.Softmax(dim=1)
x = torch.tensor([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])
print(softmax(x), softmax(x).sum(dim=1))
out = torch.tensor([[0.6, 0.4], [0.9, 0.1], [0.3, 0.7], [0.2, 0.8]])
class_index = torch.tensor([0, 0, 1, 1]).unsqueeze(1)
print(torch.gather(out, dim=1, index=class_index))
loss = nn.NLLLoss()
print(loss(nn.LogSoftmax(dim=1)(out), class_index.squeeze(1)))
print(nn.CrossEntropyLoss()(out, class_index.squeeze(1)), nn.MSELoss()(out, out * 2))
